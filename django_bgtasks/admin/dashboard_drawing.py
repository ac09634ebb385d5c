"""Little drawings of the dashboard, as what SVG's attributes say.

No template makes a number of them: with another language's decimal comma it would be
none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.utils import timezone
from django.utils.formats import date_format

from django_bgtasks.store.agenda import Agenda

#: Hours between two labels of the axis.
LABEL_HOURS = 3

HOUR = timedelta(hours=1)
#: Of the box that a spark is drawn in, which is as wide as it has points.
SPARK_HEIGHT = 20


class Label(NamedTuple):
    """A time on the axis, and where."""

    x: str
    text: str
    is_midnight: bool


def place(agenda: Agenda, moment: datetime) -> str:
    """Where a time lies on the axis, from its beginning to its end."""
    share = (moment - agenda.begin) / (agenda.end - agenda.begin)
    return f"{min(max(share, 0), 1):.2%}"


def width(agenda: Agenda, since: datetime, until: datetime) -> str:
    """How much of the axis lies between two times."""
    return f"{(until - since) / (agenda.end - agenda.begin):.2%}"


def axis(agenda: Agenda) -> Iterator[Label]:
    """Every third full hour of the reader's clock."""
    local = timezone.localtime(agenda.begin)
    hour = local.replace(minute=0, second=0, microsecond=0)
    moment = agenda.begin + (hour - local) + HOUR
    # Hours that have really passed: clocks may change in between.
    while moment < agenda.end:
        local = timezone.localtime(moment)
        if local.hour % LABEL_HOURS == 0:
            style = "H:i" if local.hour else "D"
            text = date_format(local, style)
            yield Label(place(agenda, moment), text, local.hour == 0)
        moment += HOUR


def spark(numbers: Sequence[int]) -> str:
    """The points of a line, from left to right, as high as the box where it peaks."""
    top = max(numbers, default=0) or 1
    return " ".join(
        f"{n},{SPARK_HEIGHT - 1 - number / top * (SPARK_HEIGHT - 2):.1f}"
        for n, number in enumerate(numbers)
    )
