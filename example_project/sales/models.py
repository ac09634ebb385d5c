from uuid import uuid4

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from jobs.models import WithJob
from site_config.storage import private_storage


def upload_path(source, client_name):
    """A name of our own: the client's may hold anything."""
    return f"imports/{uuid4()}.csv"


class Import(WithJob):
    """One CSV file of sales. The counts are NULL until all of it is in."""

    name = models.CharField(max_length=100)
    file = models.FileField(upload_to=upload_path, storage=private_storage)
    accepted = models.PositiveIntegerField(null=True, editable=False)
    rejected = models.PositiveIntegerField(null=True, editable=False)

    class Meta:
        ordering = ["-pk"]

    def __str__(self):
        return self.name


class Sale(models.Model):
    source = models.ForeignKey(Import, on_delete=models.CASCADE, related_name="sales")
    order_number = models.CharField(max_length=20)
    sold_on = models.DateField()
    product = models.CharField(max_length=100)
    quantity = models.PositiveIntegerField()
    unit_price = models.DecimalField(max_digits=10, decimal_places=2)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["source", "order_number"], name="one_sale_per_order_number"
            ),
        ]

    def __str__(self):
        return self.order_number


class RejectedRow(models.Model):
    source = models.ForeignKey(
        Import, on_delete=models.CASCADE, related_name="rejected_rows"
    )
    line = models.PositiveIntegerField()
    reason = models.CharField(max_length=200)
    text = models.CharField(max_length=500)

    class Meta:
        ordering = ["line"]

    def __str__(self):
        return f"line {self.line}: {self.reason}"


class Report(WithJob):
    source = models.ForeignKey(Import, on_delete=models.CASCADE)
    months = models.JSONField(null=True, editable=False, encoder=DjangoJSONEncoder)

    class Meta:
        ordering = ["-pk"]

    def __str__(self):
        return f"Report on {self.source}"
