"""How long it may still take, by how far it has got. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

#: Before that, what a job does first (opening a file, the first of many rows) says
#: nothing about the rest.
FIRST_LOOK = timedelta(seconds=2)
#: The share that has to be done by then,
SHARE = 0.02
#: unless it has been at it for so long.
LONG = timedelta(seconds=30)
#: Nobody plans further.
LONGEST = timedelta(days=30)


def eta(
    progress: Mapping[str, Any] | None, started_at: datetime | None, now: datetime
) -> timedelta | None:
    """The time that is left if it goes on as fast as it went so far.

    Args:
        progress: what the task reported last: ``done`` and ``total``.
        started_at: when its attempt began.
        now: the time by the same clock.

    Returns:
        None where that would be a guess: nothing is known of the total, or it has only
        just begun.
    """
    match progress:
        case {"done": int() | float() as done, "total": int() | float() as total}:
            return None if started_at is None else _left(done, total, now - started_at)
    return None


def _left(done: float, total: float, elapsed: timedelta) -> timedelta | None:
    if not 0 < done <= total or elapsed < FIRST_LOOK:
        return None
    if done / total < SHARE and elapsed < LONG:
        return None
    left = elapsed.total_seconds() * ((total - done) / done)
    return timedelta(seconds=left) if left <= LONGEST.total_seconds() else None
