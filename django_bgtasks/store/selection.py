"""Which jobs somebody means: by filters, as an address or a job's arguments say them.

The list in the admin, what is done to "all that match", and the job that does it to many
have this one thing, so that they cannot mean different jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import OuterRef, Q, Subquery, Value
from django.db.models.functions import Coalesce
from django.db.models.lookups import Exact
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.timezone import is_naive, make_aware
from django.utils.translation import gettext as _

from django_bgtasks.models import Attempt, Job, JobQuerySet
from django_bgtasks.models.fields import has_tag
from django_bgtasks.models.job import Status
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.searching import Search, search
from django_bgtasks.timing import can_be_kept

#: Beyond it, UUIDs have no room for milliseconds, nor databases for numbers.
_LAST_MILLISECOND = 2**48 - 1
_MOST_ATTEMPTS = 2**31 - 1


class SelectionError(ValueError):
    """A filter that does not exist, or a value that it cannot have; says which."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Jobs that fit all that is said; without anything, all jobs.

    Args:
        status: one of these.
        queue, task, creator, schedule: exactly that.
        tag: among others.
        worker: the one that runs them, or ran them last.
        parent: the job whose task enqueued them.
        attempts: so many.
        min_attempts: so many or more.
        exception: the full path of the class by which the last attempt ended, of those
            that failed.
        enqueued_after, enqueued_before: when their ids were made, by milliseconds.
        finished_after, finished_before: when they ended.
        search: an id or its beginning, an argument (``user_id=42``), the full path of a
            task, or a text in an error.
        sees_arguments: whether the search may be for an argument. No parameter, for who
            asks does not decide that.
        upto: no job that was made after this one.
    """

    status: tuple[str, ...] = ()
    queue: str | None = None
    task: str | None = None
    worker: UUID | None = None
    tag: str | None = None
    creator: str | None = None
    schedule: str | None = None
    parent: UUID | None = None
    attempts: int | None = None
    min_attempts: int | None = None
    exception: str | None = None
    enqueued_after: datetime | None = None
    enqueued_before: datetime | None = None
    finished_after: datetime | None = None
    finished_before: datetime | None = None
    search: str | None = None
    sees_arguments: bool = False
    upto: UUID | None = None

    @classmethod
    def from_params(
        cls,
        params: Mapping[str, str],
        *,
        sees_arguments: bool = False,
        upto: UUID | None = None,
    ) -> Selection:
        """Read what an address or ``as_params()`` says. Empty values say nothing.

        Raises:
            SelectionError: there is no such filter, or it cannot have this value.
        """
        read = {}
        for name, text in params.items():
            if name not in PARAMETERS:
                raise SelectionError(_("There is no filter “{}”.").format(name))
            if text := text.strip():
                read[name] = _read(name, text)
        return cls(**read, sees_arguments=sees_arguments, upto=upto)

    def as_params(self) -> dict[str, str]:
        """What ``from_params()`` makes the same of, but for its keywords."""
        given = ((name, getattr(self, name)) for name in PARAMETERS)
        return {
            name: _write(value) for name, value in given if value not in (None, "", ())
        }

    def jobs(self) -> JobQuerySet:
        """The jobs, in no order. To look at them a page at a time, see ``walking``."""
        return Job.objects.using(get_engine().alias).filter(self.condition())

    def condition(self, *but: str) -> Q:
        """What the jobs have in common.

        Args:
            but: names of filters that are seen to by other means; "ids" and "ends" are
                those about ids and the times of ends.
        """
        found = Q()
        for name, part in self._parts.items():
            if name not in but:
                found &= part
        return found

    @cached_property
    def _parts(self) -> dict[str, Q]:
        parts = {
            name: Q(**{lookup: getattr(self, name)})
            for name, lookup in EXACT.items()
            if getattr(self, name) is not None
        }
        if self.status:
            parts["status"] = Q(status__in=self.status)
        if self.tag:
            parts["tag"] = has_tag(self.tag)
        if self.exception:
            last = of_last_attempt("exception_class_path")
            parts["exception"] = Q(Exact(last, self.exception))
        if self.sought and not self.sought.ids:
            parts["search"] = self.sought.condition
        return parts | {"ids": self.ids.of("pk"), "ends": self.ends.of("finished_at")}

    @cached_property
    def sought(self) -> Search | None:
        """What ``search`` looks for."""
        if not self.search:
            return None
        seen = self.sees_arguments
        return search(self.search, sees_arguments=seen, task=self.task or "")

    @cached_property
    def ids(self) -> Bounds:
        """Between which ids theirs are."""
        after, before = self.enqueued_after, self.enqueued_before
        found = Bounds(
            first_id_of(after) if after else None,
            last_id_before(before) if before else None,
        ).within(Bounds(high=self.upto))
        sought = self.sought.ids if self.sought else None
        return found.within(Bounds(*sought)) if sought else found

    @cached_property
    def ends(self) -> Bounds:
        """Between which moments they ended."""
        before = self.finished_before
        return Bounds(
            self.finished_after, before - timedelta.resolution if before else None
        )


@dataclass(frozen=True)
class Bounds:
    """From ``low`` to ``high``, with both; None is no bound.

    As a condition, it names each side but once: of two, SQLite may walk from the wrong
    one.
    """

    low: Any = None
    high: Any = None

    def within(self, other: Bounds) -> Bounds:
        """What is within both."""
        lows = [low for low in (self.low, other.low) if low is not None]
        highs = [high for high in (self.high, other.high) if high is not None]
        return Bounds(max(lows, default=None), min(highs, default=None))

    def of(self, column: str) -> Q:
        """That ``column`` is within them."""
        sides = {f"{column}__gte": self.low, f"{column}__lte": self.high}
        return Q(**{side: end for side, end in sides.items() if end is not None})


#: Filters that are one column and one value, by their names.
EXACT = {
    "queue": "queue",
    "task": "task",
    "worker": "last_worker",
    "creator": "creator",
    "schedule": "schedule",
    "parent": "parent",
    "attempts": "attempt",
    "min_attempts": "attempt__gte",
}


def ended_by(exception: str) -> Q:
    """That an attempt ended by this, found along its job or its time.

    The index of exceptions would lead through all there ever were.
    """
    return Q(Exact(Coalesce("exception_class_path", Value("")), exception))


def of_last_attempt(column: str) -> Subquery:
    """For each job, what the last of its attempts that failed says."""
    attempts = Attempt.objects.filter(job=OuterRef("pk")).order_by("-id")
    return Subquery(attempts.values(column)[:1])


def first_id_of(moment: datetime) -> UUID:
    """The least id that can have been made in the millisecond of ``moment``."""
    return UUID(f"{_milliseconds(moment):012x}70008000000000000000")


def last_id_before(moment: datetime) -> UUID:
    """The greatest id that can have been made before the millisecond of ``moment``."""
    return UUID(f"{max(_milliseconds(moment) - 1, 0):012x}7fffbfffffffffffffff")


def _milliseconds(moment: datetime) -> int:
    # A time without a zone is one of the site's.
    since = int(moment.astimezone(UTC).timestamp() * 1000)
    return min(max(since, 0), _LAST_MILLISECOND)


# -- as text


def _text(text: str) -> str:
    if "\x00" in text:
        raise ValueError
    return text


def _statuses(text: str) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(Status(name.strip().upper()).value for name in text.split(","))
    )


def _number(text: str) -> int:
    number = int(text)
    if not 0 <= number <= _MOST_ATTEMPTS:
        raise ValueError
    return number


def _moment(text: str) -> datetime:
    day = None if "T" in text or " " in text else parse_date(text)
    moment = datetime(day.year, day.month, day.day) if day else parse_datetime(text)  # noqa: DTZ001 (its zone follows)
    if moment is None:
        raise ValueError
    if settings.USE_TZ and is_naive(moment):
        moment = make_aware(moment)
    if not settings.USE_TZ and not is_naive(moment):
        moment = moment.astimezone().replace(tzinfo=None)
    if not can_be_kept(moment):
        raise ValueError
    return moment


def _read(name: str, text: str) -> Any:
    try:
        return PARAMETERS[name](text)
    except (ValueError, OverflowError):
        message = _("“{value}” cannot be the value of the filter “{name}”.")
        raise SelectionError(message.format(value=text, name=name)) from None


def _write(value: Any) -> str:
    match value:
        case tuple():
            return ",".join(value)
        case datetime():
            return value.isoformat()
        case _:
            return str(value)


#: What reads the values of filters, by their names.
PARAMETERS: Mapping[str, Callable[[str], Any]] = {
    "status": _statuses,
    "queue": _text,
    "task": _text,
    "worker": UUID,
    "tag": _text,
    "creator": _text,
    "schedule": _text,
    "parent": UUID,
    "attempts": _number,
    "min_attempts": _number,
    "exception": _text,
    "enqueued_after": _moment,
    "enqueued_before": _moment,
    "finished_after": _moment,
    "finished_before": _moment,
    "search": _text,
}
