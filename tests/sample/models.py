"""Models of a project whose instances are referred to."""

import uuid

from django.db import models


class _Visible(models.Manager["Order"]):
    def get_queryset(self) -> models.QuerySet["Order"]:
        return super().get_queryset().filter(is_hidden=False)


class Order(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    title = models.CharField(max_length=50, default="")
    is_hidden = models.BooleanField(default=False)

    objects = _Visible()

    def __str__(self) -> str:
        return self.title


class LoudOrder(Order):
    class Meta:
        proxy = True


class GiftOrder(Order):
    greeting = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.greeting


class Line(models.Model):
    pk = models.CompositePrimaryKey("order_id", "number")
    order = models.ForeignKey(Order, models.CASCADE)
    number = models.IntegerField()

    def __str__(self) -> str:
        return f"{self.order_id} {self.number}"
