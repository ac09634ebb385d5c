from django.db import models

from jobs.models import WithJob


class Subscriber(models.Model):
    name = models.CharField(max_length=100)
    email = models.EmailField(unique=True)
    is_active = models.BooleanField(default=True)

    class Meta:
        ordering = ["name", "pk"]

    def __str__(self):
        return f"{self.name} <{self.email}>"


class Newsletter(WithJob):
    subject = models.CharField(max_length=150)
    body = models.TextField(max_length=10_000)

    class Meta:
        ordering = ["-pk"]

    def __str__(self):
        return self.subject


class Delivery(models.Model):
    """One newsletter for one subscriber, with a job of its own."""

    newsletter = models.ForeignKey(
        Newsletter, on_delete=models.CASCADE, related_name="deliveries"
    )
    subscriber = models.ForeignKey(Subscriber, on_delete=models.CASCADE)
    job_id = models.UUIDField(editable=False)
    sent_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "deliveries"
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["newsletter", "subscriber"], name="one_delivery_per_subscriber"
            ),
        ]

    def __str__(self):
        return f"{self.newsletter} to {self.subscriber}"
