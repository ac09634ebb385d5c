from uuid import uuid4

from django.db import models

from jobs.models import WithJob


class Webhook(WithJob):
    """An event that another system wants to hear of."""

    class Event(models.TextChoices):
        PAID = "order.paid", "Order paid"
        SHIPPED = "order.shipped", "Order shipped"
        RETURNED = "order.returned", "Order returned"

    event_id = models.UUIDField(default=uuid4, unique=True, editable=False)
    event = models.CharField(max_length=30, choices=Event, default=Event.PAID)
    order_number = models.CharField(max_length=20)

    class Meta:
        ordering = ["-pk"]

    def __str__(self):
        return f"{self.event} {self.order_number}"

    @property
    def payload(self):
        return {
            "id": str(self.event_id),
            "event": self.event,
            "order_number": self.order_number,
        }


class ReceivedEvent(models.Model):
    """What the endpoint has accepted. A sender may repeat itself; the id tells."""

    event_id = models.UUIDField(unique=True)
    payload = models.JSONField()
    received_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self):
        return str(self.event_id)
