"""Celery's crontabs as cron expressions.

Two things are different there. Where both a day of the month and a day of the week are
given, celery wants both of them, and cron is content with either. And some fields that
celery understands are read otherwise by croniter, or not at all: ``3-3`` (every day of
the week), ``22-4/2``, ``*,30`` and ``monday``. Such a field is written out in numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from django_bgtasks.compat.importing import LeftOut
from django_bgtasks.compat.tables import Row

#: The fields in cron's order, with their first values and how many there are.
_FIELDS = {
    "minute": (0, 60),
    "hour": (0, 24),
    "day_of_month": (1, 31),
    "month_of_year": (1, 12),
    "day_of_week": (0, 7),
}
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)
_NUMBERS = {
    **{name: number for number, name in enumerate(_MONTHS, 1)},
    **{name: number for number, name in enumerate(_DAYS)},
}
_PART = re.compile(r"(?:\*|(?P<low>\w+)(?:-(?P<high>\w+))?)(?P<step>/\d+)?")
#: Days of the month among which there is each day of the week once: its how manieth.
_WEEKS = {"1-7": 1, "8-14": 2, "15-21": 3, "22-28": 4}


def cron_of(crontab: Row) -> str:
    """The expression for a row of celery's table.

    Raises:
        LeftOut: there is none.
    """
    minute, hour, day, month, weekday = (
        _field(crontab, name, *values) for name, values in _FIELDS.items()
    )
    if "*" not in (day, weekday):
        day, weekday = "*", _weekday_in_week(day, weekday)
    return f"{minute} {hour} {day} {month} {weekday}"


def _weekday_in_week(day: str, weekday: str) -> str:
    if day in _WEEKS and weekday.isdecimal():
        return f"{weekday}#{_WEEKS[day]}"
    raise LeftOut(
        f"day_of_month is {day} and day_of_week {weekday}: celery runs it where both "
        "are true, and cron where one is. Import it with one of them, and let the task "
        "look at the other"
    )


def _field(crontab: Row, name: str, first: int, count: int) -> str:
    text = re.sub(r"\s", "", crontab.text(name)) or "*"
    parts = {part: list(_part(name, part, first, count)) for part in text.split(",")}
    numbers = sorted(set().union(*parts.values()))
    if len(numbers) == count:
        return "*"
    if all(_is_plain(part, values) for part, values in parts.items()):
        return _with_numbers(text)
    return ",".join(map(str, numbers))


def _is_plain(part: str, values: list[int]) -> bool:
    """Whether croniter reads the part of a list as celery does."""
    return part.isalnum() or (len(values) > 1 and values == sorted(values))


def _part(name: str, part: str, first: int, count: int) -> Iterator[int]:
    """The numbers that a part of a list stands for, in celery's order."""
    match = _PART.fullmatch(part)
    if match is None or (match["step"] and match["low"] and not match["high"]):
        raise LeftOut(f"{name} is {part!r}, which cannot be understood")
    step = int((match["step"] or "/1")[1:])
    low = _number(name, match["low"], first, count) if match["low"] else first
    high = low if match["low"] else first + count - 1
    if match["high"]:
        high = _number(name, match["high"], first, count)
    if step == 0:
        raise LeftOut(f"{name} is {part!r}; there is no step of 0")
    # From a higher number to a lower one: around the end.
    length = (high - low) % count + 1
    return ((low - first + n) % count + first for n in range(0, length, step))


def _number(name: str, text: str, first: int, count: int) -> int:
    number = int(text) if text.isdecimal() else _NUMBERS.get(text[:3].lower(), -1)
    if not first <= number < first + count:
        raise LeftOut(f"{name} has {text!r}, which is no value of it")
    return number


def _with_numbers(text: str) -> str:
    return re.sub(
        r"[a-z]+",
        lambda name: str(_NUMBERS[name[0][:3].lower()]),
        text,
        flags=re.IGNORECASE,
    )
