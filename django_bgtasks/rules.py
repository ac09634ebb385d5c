"""When something recurs: cron expressions, intervals and single moments.

Pure: a rule knows its ticks and nothing of jobs, rows or the time it is now.

Clocks that change. An expression that names hours speaks of local times, each of which
has one tick: a time that does not exist, since clocks went forward, has it when they
did; of one that exists twice, the first counts. An expression that leaves the hour
open, such as ``*/5 * * * *``, follows the clock as it runs, and so has ticks in a
repeated hour, too. Intervals are time that has really passed. Cron has done it so
since Vixie's of 1993 (cron(8), "Daylight Saving Time").
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cached_property, lru_cache
from zoneinfo import ZoneInfo, available_timezones

from croniter import croniter
from croniter.croniter import CroniterError
from django.conf import settings

from django_bgtasks.exceptions import InvalidSchedule, likely

#: Where intervals without a start are counted from, so that all who count agree.
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

SHORTEST_INTERVAL = timedelta(seconds=1)
#: There may be no dates that far ahead.
LONGEST_INTERVAL = timedelta(days=36_500)
#: The calendar ends with 9999, in some zones earlier.
LAST_YEAR = 9998

ZERO = timedelta(0)
SECOND = timedelta(seconds=1)
#: Characters of a cron expression that a row holds.
LONGEST_EXPRESSION = 255
#: No zone changes its clocks twice within so long.
_BETWEEN_CHANGES = timedelta(hours=6)

#: Values of the fields of an expression. Steps beyond them are never taken.
_FIELD_SIZES = (60, 24, 31, 12, 7, 60)
_HOUR = 1


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When the ticks of a schedule are.

    One of ``cron``, ``every`` and ``at`` says when. Moments are aware, ticks in UTC.

    Args:
        cron: five fields, or six with seconds as the last one, or a name such as
            ``@daily``, as croniter reads them.
        every: an interval, of a second or more.
        phase: how long after each beginning of an interval its tick is. Intervals are
            counted from ``start``, or else from the beginning of 1970 in UTC.
        at: the one moment there is.
        timezone: the name of the zone whose clocks ``cron`` speaks of; empty:
            ``TIME_ZONE``.
        start: no tick is earlier.
        end: no tick is later.

    Raises:
        InvalidSchedule: something cannot be understood, or there would never be a tick.
    """

    cron: str = ""
    every: timedelta | None = None
    phase: timedelta = ZERO
    at: datetime | None = None
    timezone: str = ""
    start: datetime | None = None
    end: datetime | None = None

    def __post_init__(self) -> None:
        self._check_kind()
        for name in ("at", "start", "end"):
            self._take_to_utc(name)
        if self.cron:
            object.__setattr__(self, "cron", " ".join(self.cron.split()))
            _parsed(self.cron)
        if self.every is not None:
            self._check_interval()
        _ = self.zone
        self._check_bounds()

    def __str__(self) -> str:
        if self.cron:
            return self.cron
        if self.every is not None:
            return f"every {interval_text(self.every)}"
        local = self.at and self.at.astimezone(self.zone)
        return f"once, at {local:%Y-%m-%d %H:%M:%S %Z}"

    @cached_property
    def plan(self) -> str:
        """All that its ticks depend on, as text: two rules with the same have the same.

        Kept in rows, and compared by whatever version of the code looks at them.
        """
        parts = {
            "cron": self.cron and f"{self.cron} {self.zone}",
            "every": self.every and f"{self.every} {self.phase}",
            "at": self.at,
            "start": self.start,
            "end": self.end,
        }
        return ", ".join(f"{name} {part}" for name, part in parts.items() if part)

    @cached_property
    def zone(self) -> tzinfo:
        """The zone whose clocks are meant."""
        return zone_named(self.timezone)

    def next_after(self, moment: datetime) -> datetime | None:
        """The first tick after ``moment``; None if there is no more."""
        moment = moment.astimezone(UTC)
        if self.start is not None and moment < self.start:
            # The start may be a tick itself.
            moment = self.start - timedelta.resolution
        tick = self._next_unbounded(moment)
        if tick is None or (self.end is not None and tick > self.end):
            return None
        return tick

    def latest(self, after: datetime, until: datetime) -> datetime | None:
        """The last tick after ``after`` and not later than ``until``, if there is one.

        However many there are: it is searched for by halves, as there is never a tick
        after it that is not later than ``until``.
        """
        tick = self.next_after(after)
        if tick is None or tick > until:
            return None
        low, high = tick, until.astimezone(UTC)
        while high - low > SECOND:
            middle = low + (high - low) / 2
            following = self.next_after(middle)
            if following is None or following > until:
                high = middle
            else:
                low = following
        # What is left is shorter than what lies between two ticks.
        following = self.next_after(low)
        return low if following is None or following > until else following

    def ticks(self, after: datetime, until: datetime, limit: int) -> list[datetime]:
        """The ticks after ``after`` and not later than ``until``, the last ``limit``."""
        latest = self.latest(after, until)
        if latest is None:
            return []
        span = SECOND
        while True:
            since = max(after, latest - span)
            found = deque(self._between(since, latest), maxlen=limit)
            if since == after or len(found) == limit:
                return list(found)
            span *= 2

    def is_moved(self, tick: datetime) -> bool:
        """Whether the local time of ``tick`` is not the one it was meant to be.

        As the one that was meant does not exist on that day.
        """
        local = tick.astimezone(self.zone).replace(tzinfo=None)
        return bool(self.cron) and _next_wall(self.cron, local - SECOND) != local

    def _between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        tick = self.next_after(after)
        while tick is not None and tick <= until:
            yield tick
            tick = self.next_after(tick)

    def _next_unbounded(self, moment: datetime) -> datetime | None:
        if self.at is not None:
            return self.at if self.at > moment else None
        try:
            if self.every is not None:
                return self._next_interval(moment, self.every)
            if _leaves_hour_open(self.cron):
                return self._next_as_clocks_run(moment)
            return self._next_local_time(moment)
        except (ValueError, OverflowError):
            # Beyond the end of the calendar, or fifty years ahead. croniter says so
            # with one of its own, or with datetime's.
            return None

    def _next_interval(self, moment: datetime, every: timedelta) -> datetime:
        first = (self.start or EPOCH) + self.phase
        return first + ((moment - first) // every + 1) * every

    def _next_local_time(self, moment: datetime) -> datetime:
        wall = _wall(moment, self.zone)
        while True:
            wall = _next_wall(self.cron, wall)
            tick = first_moment_of(wall, self.zone)
            # In a repeated hour, what it shows for the second time has been.
            if tick > moment:
                return tick

    def _next_as_clocks_run(self, moment: datetime) -> datetime:
        since, wall = moment, _wall(moment, self.zone)
        while True:
            offset = _offset(since, self.zone)
            tick = (_next_wall(self.cron, wall) - offset).replace(tzinfo=UTC)
            change = _first_change(self.zone, since, tick)
            if change is None:
                return tick
            # Go on with what clocks show from then on, that moment included.
            since, wall = change, _wall(change, self.zone) - SECOND

    def _take_to_utc(self, name: str) -> None:
        """As arithmetic in a zone is with what its clocks show."""
        moment: datetime | None = getattr(self, name)
        if moment is None:
            return
        if not 1900 <= moment.year <= LAST_YEAR:
            raise InvalidSchedule(
                name, f"is {moment}; it must be from 1900 to {LAST_YEAR}"
            )
        object.__setattr__(self, name, moment.astimezone(UTC))

    def _check_kind(self) -> None:
        given = [
            n for n in ("cron", "every", "at") if getattr(self, n) not in ("", None)
        ]
        if not given:
            raise InvalidSchedule(
                "cron", "says nothing; give one of cron, every and at"
            )
        if len(given) > 1:
            raise InvalidSchedule(
                given[1], f"is given besides {given[0]}; one of them is enough"
            )
        if self.phase and self.every is None:
            raise InvalidSchedule("phase", "belongs to every; leave it out")

    def _check_interval(self) -> None:
        if (
            self.every is None
            or not SHORTEST_INTERVAL <= self.every <= LONGEST_INTERVAL
        ):
            raise InvalidSchedule(
                "every", f"is {self.every}; it must be from 1 second to 100 years"
            )
        if not ZERO <= self.phase < self.every:
            raise InvalidSchedule(
                "phase", f"is {self.phase}; it must be from 0 to less than every"
            )

    def _check_bounds(self) -> None:
        if self.start is not None and self.end is not None and self.end < self.start:
            raise InvalidSchedule("end", "is before start; exchange them")
        begin = self.start or EPOCH
        if self.next_after(begin - timedelta.resolution) is None:
            field = "cron" if self.cron else "at" if self.at else "end"
            raise InvalidSchedule(field, "never comes; there is no such time")


def zone_named(name: str) -> tzinfo:
    """The time zone of that name; ``TIME_ZONE`` if it is empty.

    Raises:
        InvalidSchedule: there is no such zone.
    """
    try:
        return ZoneInfo(name or settings.TIME_ZONE)
    except (LookupError, ValueError, OSError):
        hint = likely(name, available_timezones()) or " Europe/Berlin would be one."
        raise InvalidSchedule(
            "timezone", f"is {name!r}, which is no time zone.{hint}"
        ) from None


def first_moment_of(wall: datetime, zone: tzinfo) -> datetime:
    """When clocks of ``zone`` first show ``wall``, in UTC.

    Where they never do, as they go forward past it: when they go forward.
    """
    moment = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if _wall(moment, zone) == wall:
        return moment
    before = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return _change_between(zone, before, moment)


def _wall(moment: datetime, zone: tzinfo) -> datetime:
    """What clocks show."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _offset(moment: datetime, zone: tzinfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or ZERO


def _first_change(zone: tzinfo, since: datetime, until: datetime) -> datetime | None:
    """When clocks first change after ``since`` and not later than ``until``."""
    offset = _offset(since, zone)
    while since < until:
        later = min(since + _BETWEEN_CHANGES, until)
        if _offset(later, zone) != offset:
            return _change_between(zone, since, later)
        since = later
    return None


def _change_between(zone: tzinfo, before: datetime, after: datetime) -> datetime:
    """The moment between the two from which on clocks show what they do ``after``."""
    offset = _offset(after, zone)
    low, high = int(before.timestamp()), int(after.timestamp())
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(datetime.fromtimestamp(middle, UTC), zone) == offset:
            high = middle
        else:
            low = middle
    return datetime.fromtimestamp(high, UTC)


def _next_wall(expression: str, wall: datetime) -> datetime:
    """The first local time after ``wall`` that the expression names."""
    # A copy, for it notes where it is, and threads share what is cached.
    cron = copy(_parsed(expression))
    following: datetime = cron.get_next(
        datetime, start_time=wall.replace(microsecond=0)
    )
    return following


def _leaves_hour_open(expression: str) -> bool:
    return _parsed(expression).expanded[_HOUR] == ["*"]


@lru_cache(maxsize=10_000)
def _parsed(expression: str) -> croniter:
    fields = expression.split()
    if len(expression) > LONGEST_EXPRESSION:
        raise InvalidSchedule(
            "cron", f"is longer than {LONGEST_EXPRESSION} characters; make two of it"
        )
    if any(re.match(r"[rh]\b", field, re.IGNORECASE) for field in fields):
        raise InvalidSchedule(
            "cron", f"is {expression!r}; instead of H and R, use jitter"
        )
    if len(fields) not in (5, 6) and not expression.startswith("@"):
        raise InvalidSchedule(
            "cron",
            f"is {expression!r}; it must have 5 fields (minute, hour, day of month, "
            "month, day of week), a 6th for seconds, or be a name such as @daily",
        )
    for field, size in zip(fields, _FIELD_SIZES, strict=False):
        _check_step(expression, field, size)
    # A range of one value, which croniter takes for all there are.
    unambiguous = re.sub(r"\b(\w+)-\1\b(/\d+)?", r"\1", expression)
    try:
        return croniter(unambiguous, EPOCH.replace(tzinfo=None))
    except CroniterError as error:
        raise InvalidSchedule(
            "cron", f"is {expression!r}, which is no cron expression: {error}"
        ) from None


def _check_step(expression: str, field: str, size: int) -> None:
    # croniter takes such a step and never goes it: */90 would be hourly.
    for step in re.findall(r"/(\d+)", field):
        if int(step) >= size:
            raise InvalidSchedule(
                "cron",
                f"is {expression!r}; a step of {step} leads out of its field. For "
                "other intervals, use every",
            )


def interval_text(interval: timedelta) -> str:
    """An interval in the biggest unit that it is a multiple of."""
    seconds = interval.total_seconds()
    for name, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.15g} {name}"
    return f"{seconds:.15g} s"
