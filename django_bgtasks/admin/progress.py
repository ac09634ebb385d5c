"""How far a running job is, and how it goes. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from django_bgtasks.estimating import eta
from django_bgtasks.wording import duration, rough_duration


def percent(progress: dict[str, Any]) -> int | None:
    """Whole percents that are done; 100 only at the end. None: nobody knows."""
    match progress:
        case {"done": int() | float() as done, "total": int() | float() as total}:
            if total <= 0:
                return None
            # Not by dividing alone: what is left of a tiny number is endless.
            return 100 if done >= total else int(100 * max(done, 0) / total)
    return None


def pace(progress: dict[str, Any], started_at: datetime, now: datetime) -> str:
    """One line on how it goes: "25 % · running for 4 s · about 10 s left"."""
    parts = []
    share, left = percent(progress), eta(progress, started_at, now)
    if share is not None:
        parts.append(_("{number} %").format(number=share))
    parts.append(_("running for {time}").format(time=duration(now - started_at)))
    if left:
        parts.append(_("about {time} left").format(time=rough_duration(left)))
    return " · ".join(parts)
