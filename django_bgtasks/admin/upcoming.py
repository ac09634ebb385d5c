"""The next runs of a rule, as pages show them: rendered, and as they are typed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice, pairwise
from typing import TypedDict

from django.utils.formats import date_format
from django.utils.translation import gettext as _

from django_bgtasks import timing
from django_bgtasks.rules import ZERO, Rule
from django_bgtasks.timing import as_aware
from django_bgtasks.wording import duration

#: Runs that are shown.
COUNT = 10


class Run(TypedDict):
    """One of them, as text.

    Args:
        datetime: for machines.
        time: what clocks of the schedule's zone show, and how far they are from UTC.
        notes: what is strange about it.
    """

    datetime: str
    time: str
    notes: list[str]


class Upcoming(TypedDict):
    """All that is said of the future of a rule."""

    summary: str
    runs: list[Run]


def upcoming(rule: Rule, after: datetime | None = None) -> Upcoming:
    """The next runs after ``after``, an aware datetime; default now."""
    ticks = list(islice(_ticks(rule, after or as_aware(timing.now())), COUNT))
    if not ticks:
        return {"summary": _("There will be no more runs."), "runs": []}
    local = [tick.astimezone(rule.zone) for tick in ticks]
    # Nothing has changed before the first.
    runs = [_run(rule, *pair) for pair in pairwise([local[0], *local])]
    summary = _("Next run: {time}, by the clocks of {zone}.")
    return {
        "summary": summary.format(time=runs[0]["time"], zone=rule.zone),
        "runs": runs,
    }


def _ticks(rule: Rule, after: datetime) -> Iterator[datetime]:
    tick = rule.next_after(after)
    while tick is not None:
        yield tick
        tick = rule.next_after(tick)


def _run(rule: Rule, before: datetime, tick: datetime) -> Run:
    notes = [*_clock_changes(before, tick)]
    if rule.is_moved(tick):
        notes.append(_("moved, for on this day there is no such time"))
    offset = tick.isoformat(timespec="seconds")[19:]
    time = f"{date_format(tick, 'D Y-m-d H:i:s')} UTC{offset}"
    return {"datetime": tick.isoformat(), "time": time, "notes": notes}


def _clock_changes(before: datetime, tick: datetime) -> Iterator[str]:
    change = _offset(tick) - _offset(before)
    if change > ZERO:
        text = _("clocks go forward {time} before this run")
        yield text.format(time=duration(change))
    if change < ZERO:
        text = _("clocks go back {time} before this run")
        yield text.format(time=duration(-change))


def _offset(moment: datetime) -> timedelta:
    return moment.utcoffset() or ZERO
