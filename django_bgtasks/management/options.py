"""Values of options that several commands have."""

from __future__ import annotations

import argparse
import re
from datetime import timedelta
from uuid import UUID

from django_bgtasks.conf import LONGEST_AGE

#: Seconds between two looks.
MIN_INTERVAL, MAX_INTERVAL = 0.1, 86_400

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def age(value: str, longest: timedelta = LONGEST_AGE) -> timedelta:
    """A time such as 30m, 2h or 7d."""
    match = re.fullmatch(r"([0-9]{1,6})([mhd])", value)
    span = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta(0)
    if not timedelta(0) < span <= longest:
        raise argparse.ArgumentTypeError(
            f"{value!r} is no time such as 30m, 1h or 7d, of at most {longest.days}d"
        )
    return span


def seconds(value: str) -> timedelta:
    """A number of seconds, with or without a fraction."""
    try:
        span = timedelta(seconds=float(value))
    except (ValueError, OverflowError):
        span = timedelta(-1)
    if not timedelta(0) <= span <= LONGEST_AGE:
        raise argparse.ArgumentTypeError(f"{value!r} is no number of seconds from 0 on")
    return span


def interval(value: str) -> float:
    """Seconds between two looks: some, so that the database can rest."""
    every = seconds(value).total_seconds()
    if not MIN_INTERVAL <= every <= MAX_INTERVAL:
        raise argparse.ArgumentTypeError(
            f"{value!r} must be from {MIN_INTERVAL} to {MAX_INTERVAL} seconds"
        )
    return every


def whole_number(value: str) -> int:
    """A number from 0 on."""
    # Not int(), which takes "1_0" and other scripts' digits.
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise argparse.ArgumentTypeError(f"{value!r} is no whole number from 0 on")
    return int(value)


def at_least_one(value: str) -> int:
    """A number from 1 on."""
    number = whole_number(value)
    if number == 0:
        raise argparse.ArgumentTypeError("0 is too few")
    return number


def job_id(value: str) -> UUID:
    """The id of a job."""
    try:
        return UUID(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{value!r} is no id of a job") from None
