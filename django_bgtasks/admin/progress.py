"""How far a running job is, and how long it may still take. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils.translation import gettext as _

from django_bgtasks.wording import duration

#: Who would wait longer than that learns nothing from it.
LONGEST_GUESS = timedelta(days=1000)


def percent(progress: dict[str, Any]) -> int | None:
    """Whole percents that are done; 100 only at the end. None: nobody knows."""
    match progress:
        case {"done": int() | float() as done, "total": int() | float() as total}:
            if total <= 0:
                return None
            # Not by dividing alone: what is left of a tiny number is endless.
            return 100 if done >= total else int(100 * max(done, 0) / total)
    return None


def time_left(progress: dict[str, Any], elapsed: timedelta) -> timedelta | None:
    """When it will be done, at the pace since the run began. None: nobody knows."""
    match progress:
        case {"done": int() | float() as done, "total": int() | float() as total}:
            if not 0 < done < total or elapsed <= timedelta(0):
                return None
            seconds = elapsed.total_seconds() * ((total - done) / done)
            is_far = seconds > LONGEST_GUESS.total_seconds()
            return None if is_far else timedelta(seconds=seconds)
    return None


def pace(progress: dict[str, Any], elapsed: timedelta) -> str:
    """One line on how it goes: "25 % · running for 4 s · about 12 s left"."""
    parts = []
    share, left = percent(progress), time_left(progress, elapsed)
    if share is not None:
        parts.append(_("{number} %").format(number=share))
    parts.append(_("running for {time}").format(time=duration(elapsed)))
    if left is not None:
        parts.append(_("about {time} left").format(time=duration(left)))
    return " · ".join(parts)
