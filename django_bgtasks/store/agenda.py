"""What schedules are going to do: their next runs, as a calendar shows them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import chain, islice

from django_bgtasks.exceptions import InvalidSchedule
from django_bgtasks.models import Schedule
from django_bgtasks.models.schedule import ScheduleQuerySet
from django_bgtasks.rules import Rule
from django_bgtasks.store.counting import count_up_to
from django_bgtasks.store.engines import get_engine
from django_bgtasks.tasks import secrets_of
from django_bgtasks.timing import as_aware

#: How far ahead.
AHEAD = timedelta(hours=24)
#: Schedules whose runs are looked for.
LIMIT = 20
#: Schedules that are counted beyond those.
COUNT_LIMIT = 1000
#: Runs of a schedule that are told from each other.
TICK_LIMIT = 48
#: Of more of them it is only said in which stretches of this length there are some.
STRETCH = timedelta(minutes=30)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a schedule is going to do.

    Args:
        schedule: its row; its problem without what is sensitive.
        ticks: when it is due; none if it is paused or has a problem.
        stretches: where there are too many of them: from when until when it is due time
            and again, instead.
    """

    schedule: Schedule
    ticks: tuple[datetime, ...]
    stretches: tuple[tuple[datetime, datetime], ...]


@dataclass(frozen=True, kw_only=True)
class Agenda:
    """What schedules are going to do.

    Args:
        begin, end: the time that was looked at.
        plans: those with a problem first, then those that are due next, then paused ones.
        total: how many schedules there are; one more than ``COUNT_LIMIT``, if more.
    """

    begin: datetime
    end: datetime
    plans: tuple[Plan, ...]
    total: int


def agenda(now: datetime) -> Agenda:
    """Look at the next 24 hours.

    Args:
        now: the time by the database's clock.
    """
    rows = Schedule.objects.using(get_engine().alias)
    begin = as_aware(now)
    return Agenda(
        begin=begin,
        end=begin + AHEAD,
        plans=tuple(_plan(row, begin) for row in islice(_in_order(rows), LIMIT)),
        total=count_up_to(COUNT_LIMIT, rows),
    )


def _in_order(rows: ScheduleQuerySet) -> Iterator[Schedule]:
    active = rows.running().filter(next_due__isnull=False)
    paused = rows.filter(paused_at__isnull=False, problem="")
    # Asked for at once, so that the number of queries does not depend on the answers.
    return chain(
        list(rows.with_problem().order_by("name")[:LIMIT]),
        list(active.order_by("next_due")[:LIMIT]),
        list(paused.order_by("name")[:LIMIT]),
    )


def _plan(row: Schedule, now: datetime) -> Plan:
    if row.problem and (secrets := secrets_of(row)):
        row.problem = secrets.mask(row.problem)
    if row.paused_at is not None or row.problem or row.next_due is None:
        return Plan(schedule=row, ticks=(), stretches=())
    try:
        rule = row.rule
    except InvalidSchedule:
        # Nobody has looked at it yet; the scheduler is going to say what is wrong.
        return Plan(schedule=row, ticks=(), stretches=())
    # The same answer for a whole minute: pages ask every few seconds.
    ticks, stretches = _times(rule, now.replace(second=0, microsecond=0))
    next_due = as_aware(row.next_due)
    late = (next_due,) if next_due <= now else ()
    return Plan(
        schedule=row,
        ticks=(*late, *(tick for tick in ticks if tick > now)),
        stretches=stretches,
    )


_Stretch = tuple[datetime, datetime]


@lru_cache(maxsize=1000)
def _times(
    rule: Rule, begin: datetime
) -> tuple[tuple[datetime, ...], tuple[_Stretch, ...]]:
    end = begin + AHEAD
    ticks = tuple(islice(_ticks(rule, begin, end), TICK_LIMIT + 1))
    if len(ticks) <= TICK_LIMIT:
        return ticks, ()
    return (), tuple(_stretches(rule, begin, end))


def _ticks(rule: Rule, begin: datetime, end: datetime) -> Iterator[datetime]:
    tick = rule.next_after(begin)
    while tick is not None and tick <= end:
        yield tick
        tick = rule.next_after(tick)


def _stretches(rule: Rule, begin: datetime, end: datetime) -> Iterator[_Stretch]:
    """From when until when no two ticks are further apart than ``STRETCH``, or nearly."""
    since = rule.next_after(begin)
    while since is not None and since <= end:
        tick, following = since, rule.next_after(since + STRETCH)
        while following is not None and following <= min(tick + 2 * STRETCH, end):
            tick, following = following, rule.next_after(following + STRETCH)
        # The last one is not that at which this has looked last.
        last = rule.latest(tick, min(tick + STRETCH, end)) or tick
        yield since, last
        since = following
