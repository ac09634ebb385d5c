"""What the buttons of the first page start, and what the demo starts by itself."""

from datetime import timedelta
from random import randrange

from django.db import transaction
from django.utils import timezone

from newsletter.models import Newsletter
from newsletter.tasks import send_newsletter
from sales.starting import start_report, start_sample_import
from webhooks.models import Webhook
from webhooks.tasks import deliver_webhook


def start_newsletter():
    with transaction.atomic():
        newsletter = Newsletter.objects.create(
            subject=f"The Example Gazette, {timezone.now():%d %B, %H:%M}",
            body="Nothing has happened, and we were there first.",
        )
        newsletter.start(send_newsletter)
    return newsletter


def start_webhook(task=deliver_webhook):
    with transaction.atomic():
        number = f"A{randrange(1_000_000):06}"  # noqa: S311 (nothing secret)
        webhook = Webhook.objects.create(order_number=number)
        webhook.start(task)
    return webhook


STARTERS = {
    "import": start_sample_import,
    "report": start_report,
    "newsletter": start_newsletter,
    "webhook": start_webhook,
}


def start_some():
    """Some of everything, so that there is life when somebody first looks."""
    start_sample_import()
    start_newsletter()
    # Not before the web server is there, which is called.
    for seconds in (5, 6, 7, 1800):
        later = timezone.now() + timedelta(seconds=seconds)
        start_webhook(deliver_webhook.using(run_after=later))
