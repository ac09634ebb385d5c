from datetime import timedelta

from django.core.mail import EmailMessage
from django.db import transaction
from django.utils import timezone

from django_bgtasks import Cancel, background
from newsletter.models import Delivery, Newsletter, Subscriber
from newsletter.outbox import delete_messages


@background(takes_context=True)
def send_newsletter(context, newsletter_id):
    """Start one job for every subscriber, so that one bad address hurts no other.

    Jobs are rows: either all of them are enqueued, or none. A second run finds the
    deliveries of the first and starts nothing. The admin shows them as children of
    this job.
    """
    with transaction.atomic():
        newsletter = Newsletter.objects.select_for_update().get(pk=newsletter_id)
        if not newsletter.deliveries.exists():
            start_deliveries(context, newsletter)
    return {"deliveries": newsletter.deliveries.count()}


def start_deliveries(context, newsletter):
    subscribers = Subscriber.objects.filter(is_active=True)
    Delivery.objects.bulk_create(
        Delivery(
            newsletter=newsletter,
            subscriber=subscriber,
            job_id=context.enqueue(deliver.s(newsletter.pk, subscriber.pk)).id,
        )
        for subscriber in subscribers
    )
    count = len(subscribers)
    context.progress(count, count, f"{count} messages are on their way")


@background(max_attempts=5, queue_name="mail")
def deliver(newsletter_id, subscriber_id):
    """Send one message, unless an earlier attempt already has."""
    delivery = Delivery.objects.select_related("newsletter", "subscriber").get(
        newsletter_id=newsletter_id, subscriber_id=subscriber_id
    )
    if delivery.sent_at:
        return
    if not delivery.subscriber.is_active:
        raise Cancel("unsubscribed before the message went out")
    message_for(delivery).send()
    # A crash right before this line sends the message twice. Mail cannot be taken
    # back, so at least once is the best there is.
    delivery.sent_at = timezone.now()
    delivery.save(update_fields=["sent_at"])


@background(takes_context=True)
def clear_outbox(context, days):
    """Delete files of messages that were sent so many days before the job's time."""
    until = (context.scheduled_for or timezone.now()) - timedelta(days=days)
    return {"deleted": delete_messages(until)}


def message_for(delivery):
    subscriber, newsletter = delivery.subscriber, delivery.newsletter
    return EmailMessage(
        subject=newsletter.subject,
        body=f"Hello {subscriber.name},\n\n{newsletter.body}\n",
        to=[subscriber.email],
    )
