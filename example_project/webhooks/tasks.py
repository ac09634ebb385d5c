from random import randrange

from django.conf import settings
from django.db import transaction
from django.urls import reverse

from django_bgtasks import background
from webhooks.models import Webhook
from webhooks.sender import RefusedError, post


@background(
    takes_context=True,
    queue_name="webhooks",
    max_attempts=8,
    backoff=[1, 2, 3],
    no_retry_on=[RefusedError],
)
def deliver_webhook(context, webhook_id):
    """Post the event. An answer of 500, or none, raises, and so is tried again."""
    webhook = Webhook.objects.get(pk=webhook_id)
    url = settings.SITE_URL + reverse("webhooks:receive")
    return {"answer": post(url, webhook.payload, context.attempt)}


@background(takes_context=True)
def announce_order(context):
    """Somebody has bought something: every minute, so that there is life."""
    number = f"B{randrange(1_000_000):06}"  # noqa: S311 (nothing secret)
    with transaction.atomic():
        webhook = Webhook.objects.create(order_number=number)
        webhook.job_id = context.enqueue(deliver_webhook.s(webhook.pk)).id
        webhook.save(update_fields=["job_id"])
