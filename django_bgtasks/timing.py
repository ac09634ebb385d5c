"""The time for those who enqueue: this host's, unless it is known to be wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

#: Smaller differences between the clocks of two hosts are taken for delay.
TOLERANCE = timedelta(seconds=1)

_ahead = timedelta(0)
_stopped_at: datetime | None = None


def now() -> datetime:
    """The time by the database's clock, as far as this process knows it.

    A process that enqueues does not ask the database for the time, to save each web
    request a query: there it is the host's. A worker has asked.
    """
    return timezone.now() + _ahead if _stopped_at is None else _stopped_at


@contextmanager
def stopped_at(moment: datetime) -> Iterator[None]:
    """Let ``now()`` be ``moment`` meanwhile, in the whole process: for tests."""
    global _stopped_at  # noqa: PLW0603 (one clock a process)
    before, _stopped_at = _stopped_at, moment
    try:
        yield
    finally:
        _stopped_at = before


def learn(database_time: datetime) -> None:
    """Tell what time the database says it is."""
    global _ahead  # noqa: PLW0603 (one clock a process)
    ahead = database_time - timezone.now()
    _ahead = ahead if abs(ahead) > TOLERANCE else timedelta(0)


def can_be_kept(moment: datetime) -> bool:
    """Whether all databases have such a time, and the clocks of all zones."""
    return 1900 <= moment.year < 9999


def as_aware(moment: datetime) -> datetime:
    """A moment as rows hold it, with its time zone."""
    if timezone.is_aware(moment):
        return moment
    return timezone.make_aware(moment, timezone.get_default_timezone())


def as_stored(moment: datetime) -> datetime:
    """An aware moment as rows hold it: without ``USE_TZ``, the time in ``TIME_ZONE``."""
    if settings.USE_TZ:
        return moment
    # Not the zone that a request may have activated: rows are for all.
    return timezone.make_naive(moment, timezone.get_default_timezone())
