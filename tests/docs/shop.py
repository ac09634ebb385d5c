"""The project of whoever reads the documentation: a shop.

What pages use of it they need not define nor import. What is ours, Django's or Python's
they import, for that is what their readers copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from django.apps import AppConfig
from django.contrib.auth import get_user_model
from django.db import connection, models
from django.http import HttpResponse
from django.urls import path

from django_bgtasks import background


class ShopConfig(AppConfig):
    """Installed for a page only: nobody else needs the tables."""

    name = "tests.docs"
    label = "shop"
    default_auto_field = "django.db.models.BigAutoField"


class _Row(models.Model):
    class Meta:
        app_label = ShopConfig.label
        abstract = True

    def __str__(self):
        return f"{type(self).__name__} {self.pk}"


class Customer(_Row):
    pass


class Order(_Row):
    customer = models.ForeignKey(Customer, models.CASCADE, null=True)
    receipt_sent = models.BooleanField(default=False)
    receipt_sent_at = models.DateTimeField(null=True)


class Account(_Row):
    points = models.IntegerField(default=0)


class Card(_Row):
    pass


class Report(_Row):
    pass


MODELS = [Customer, Order, Account, Card, Report]


@dataclass(frozen=True)
class Money:
    amount: int
    currency: str


class ServerError(Exception):
    """What the shop's HTTP client raises."""

    status = 503
    retry_after = 30


def does_its_part(*args):
    """Stands for a function of the shop's that is of no concern to the page."""
    return []


def checkout(request):
    """The view that tests on pages ask to enqueue what their page calls so."""
    if "item" in request.POST:
        import_module("shop.tasks").send_receipt(Order.objects.create().pk)
    return HttpResponse()


urlpatterns = [path("checkout/", checkout)]


def tasks():
    """Declare the tasks of which pages speak, in the shop's modules, by their names."""
    nightly_report.__module__ = report.__module__ = "shop.tasks"
    poll.__module__ = "feeds.tasks"
    remind.__module__ = "newsletter.tasks"
    declared = {f.__name__: background(f) for f in (nightly_report, report, poll)}
    return {**declared, "remind": background(cron="@weekly")(remind)}


def nightly_report(): ...
def report(shop_id): ...
def poll(limit): ...
def remind(): ...


def create_tables():
    with connection.schema_editor() as editor:
        for model in MODELS:
            editor.create_model(model)


def drop_tables():
    with connection.schema_editor() as editor:
        for model in reversed(MODELS):
            editor.delete_model(model)


def delete_rows():
    for model in reversed(MODELS):
        model.objects.all().delete()


def names() -> dict[str, Any]:
    """What a page may use as if it stood in the shop's code, with rows of its own."""
    create_user = get_user_model().objects.create_user
    users = [create_user(name) for name in ("ada", "grace")]
    customer = Customer.objects.create()
    thing = SimpleNamespace(pk=1, id=1)
    parts = [
        "ask_the_bank",
        "charge",
        "close_neatly",
        "mail_receipt",
        "pages",
        "read",
        "remove_partial_files",
        "run_converter",
        "save",
        "write",
    ]
    return {
        **{model.__name__: model for model in MODELS},
        **dict.fromkeys(parts, does_its_part),
        "BASE_DIR": Path("/srv/mysite"),
        "DATABASES": {"default": {"OPTIONS": {}}},
        "Money": Money,
        "ServerError": ServerError,
        "customer": customer,
        "exit": lambda: None,
        "managers": users,
        "nightly_report": tasks()["nightly_report"],
        "order": Order.objects.create(customer=customer),
        "payment": thing,
        "picture": thing,
        "request": SimpleNamespace(user=users[0], POST={"customer": customer.pk}),
        "session": {},
        "shop": SimpleNamespace(pk=1, timezone="Europe/Berlin"),
        "user": users[0],
        "users": users,
    }
