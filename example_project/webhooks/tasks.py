from django.conf import settings
from django.urls import reverse

from django_bgtasks import background
from webhooks.models import Webhook
from webhooks.sender import RefusedError, post


@background(
    takes_context=True, max_attempts=8, backoff=[1, 2, 3], no_retry_on=[RefusedError]
)
def deliver_webhook(context, webhook_id):
    """Post the event. An answer of 500, or none, raises, and so is tried again."""
    webhook = Webhook.objects.get(pk=webhook_id)
    url = settings.SITE_URL + reverse("webhooks:receive")
    return {"answer": post(url, webhook.payload, context.attempt)}
