"""How a text for people writes times, spans of time and numbers."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _


def moment(value: datetime) -> str:
    """A time to the second, in the reader's time zone."""
    return date_format(as_local(value), "Y-m-d H:i:s")


def as_local(value: datetime) -> datetime:
    """A time as rows hold it, in the reader's time zone."""
    return timezone.localtime(value) if timezone.is_aware(value) else value


def duration(value: timedelta) -> str:
    """A span of time in its two biggest units; what is short, to the tenth or finer."""
    seconds = max(value.total_seconds(), 0)
    if seconds < 1:
        return _milliseconds(seconds)
    minutes, hours, days = (int(seconds // size) for size in (60, 3600, 86400))
    if days:
        text = _("{days} d {hours} h") if hours % 24 else _("{days} d")
    elif hours:
        text = _("{hours} h {minutes} min") if minutes % 60 else _("{hours} h")
    elif minutes:
        text = (
            _("{minutes} min {seconds} s") if seconds % 60 >= 1 else _("{minutes} min")
        )
    else:
        number = number_format(round(seconds, 1), 1, use_l10n=True)
        return _("{seconds} s").format(seconds=number)
    return text.format(
        days=days, hours=hours % 24, minutes=minutes % 60, seconds=int(seconds % 60)
    )


def rough_duration(value: timedelta) -> str:
    """A span of time that nobody knows exactly, in one unit."""
    seconds = max(value.total_seconds(), 1)
    if seconds <= 10:
        return _("{seconds} s").format(seconds=round(seconds))
    if seconds < 57.5:
        return _("{seconds} s").format(seconds=5 * round(seconds / 5))
    if seconds < 3570:
        return _("{minutes} min").format(minutes=round(seconds / 60))
    if seconds < 84_600:
        return _("{hours} h").format(hours=round(seconds / 3600))
    return _("{days} d").format(days=round(seconds / 86_400))


def interval(value: timedelta) -> str:
    """A span of time as somebody has set it, in the biggest unit of which it is full."""
    seconds = value.total_seconds()
    for text, size in (
        (_("{days} d"), 86400),
        (_("{hours} h"), 3600),
        (_("{minutes} min"), 60),
    ):
        if seconds >= size and seconds % size == 0:
            whole = number(int(seconds // size))
            return text.format(days=whole, hours=whole, minutes=whole)
    shown = number_format(f"{seconds:.15g}", use_l10n=True)
    return _("{seconds} s").format(seconds=shown)


def number(value: int) -> str:
    """A whole number, as the reader writes it."""
    return number_format(value, use_l10n=True, force_grouping=True)


def number_up_to(limit: int, count: int) -> str:
    """A number of which it is only known, if it is above ``limit``, that it is."""
    if count > limit:
        return _("more than {limit}").format(limit=number(limit))
    return number(count)


def _milliseconds(seconds: float) -> str:
    places = 1 if 0 < seconds < 0.01 else 0
    number = number_format(round(seconds * 1000, places), places, use_l10n=True)
    return _("{number} ms").format(number=number)
