from types import SimpleNamespace
from uuid import UUID

import pytest
from django.core.signing import Signer
from django.urls import reverse

from django_bgtasks.tickets import Ticket, owner_key

pytestmark = pytest.mark.once

JOB = UUID("0199a000-0000-7000-8000-000000000001")
OTHER = UUID("0199a000-0000-7000-8000-000000000002")

ANN = SimpleNamespace(pk=7, is_authenticated=True)
BOB = SimpleNamespace(pk=8, is_authenticated=True)
NOBODY = SimpleNamespace(pk=None, is_authenticated=False)


@pytest.mark.parametrize(
    "ticket", [Ticket(JOB, "7"), Ticket(JOB, None), Ticket(JOB, "7", True)]
)
def test_what_was_signed_is_read(ticket):
    assert Ticket.read(ticket.sign()) == ticket


def test_it_is_the_same_every_time_and_fits_into_an_url():
    text = Ticket(JOB, "7").sign()
    assert text == Ticket(JOB, "7").sign()
    assert text in reverse("django_bgtasks:job_status", args=[text])


def test_nobody_else_can_make_one(settings):
    mine, theirs = Ticket(JOB, "7").sign(), Ticket(OTHER, None).sign()
    payload, signature = mine.split(":")
    other_salt = Signer(salt="elsewhere").sign_object([JOB.hex, None, 0])
    assert Ticket.read("") is None
    assert Ticket.read(payload) is None
    assert Ticket.read(f"{theirs.split(':')[0]}:{signature}") is None
    assert Ticket.read(mine[:-1] + ("a" if mine[-1] != "a" else "b")) is None
    assert Ticket.read(other_salt) is None
    settings.SECRET_KEY = "another one"
    assert Ticket.read(mine) is None


def test_a_ticket_of_another_shape_is_none():
    for value in (
        [],
        ["7"],
        "text",
        [JOB.hex],
        ["no id", None, 0],
        {"job": 1},
    ):
        assert (
            Ticket.read(Signer(salt="django_bgtasks.tickets").sign_object(value))
            is None
        )


@pytest.mark.parametrize(
    ("owner", "admitted", "refused"),
    [
        ("7", [ANN], [BOB, NOBODY, None]),
        # Of a page that was rendered for nobody in particular: whoever has it.
        (None, [ANN, BOB, NOBODY, None], []),
    ],
)
def test_only_the_owner_is_admitted(owner, admitted, refused):
    ticket = Ticket(JOB, owner)
    assert [user for user in admitted + refused if ticket.admits(user)] == admitted


def test_somebody_who_is_not_logged_in_has_no_key():
    assert [owner_key(user) for user in (ANN, NOBODY, None)] == ["7", None, None]
