"""Tickets: who holds one may look at the status of one job.

A ticket is made for whoever a page is rendered for, and nobody else can make one.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

from django.core.signing import BadSignature, Signer


class Ticket(NamedTuple):
    """What is signed.

    Args:
        job: the id of the job.
        owner: the key of the user who may look; None: whoever has the ticket.
        shows_result: whether what the job returned is shown, too.
    """

    job: UUID
    owner: str | None
    shows_result: bool = False

    def sign(self) -> str:
        """The ticket as part of an URL. The same every time, so pages stay the same."""
        return _signer().sign_object([self.job.hex, self.owner, int(self.shows_result)])

    @classmethod
    def read(cls, text: str) -> Ticket | None:
        """What was signed; None if it was not signed here."""
        try:
            job, owner, shows_result = _signer().unsign_object(text)
            return cls(UUID(job), owner, bool(shows_result))
        except (BadSignature, ValueError):
            return None

    def admits(self, user: Any) -> bool:
        """Whether ``user`` is who may look.

        Args:
            user: who asks; None if the project knows no users.
        """
        return self.owner is None or self.owner == owner_key(user)


def owner_key(user: Any) -> str | None:
    """The key by which a ticket names ``user``; None of somebody who is not logged in."""
    if user is None or not user.is_authenticated:
        return None
    return str(user.pk)


def _signer() -> Signer:
    return Signer(salt="django_bgtasks.tickets")
