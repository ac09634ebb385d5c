"""Going through the jobs of a selection, the newest first, a page at a time.

However many jobs there are, a page is quick: along an index that leads to them, and past
no more than so many that do not fit. When they are used up before the page is full, the
page says where to go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet

from django_bgtasks.models import Attempt, Job, JobQuerySet
from django_bgtasks.models.job import FINISHED, Status
from django_bgtasks.store.counting import count_up_to
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.selection import (
    Bounds,
    Selection,
    ended_by,
    first_id_of,
)

#: Rows that are looked at for one page, and jobs that are counted.
BUDGET = 10_000
#: How many times fewer, where each may have to be read from another place of the disk.
SCATTERED = 4
#: How far clocks may be apart: an id is made by one, the end of its job by another.
CLOCKS_APART = timedelta(hours=1)

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (of times without zones)
_LEAST_ID = UUID("00000000-0000-7000-8000-000000000000")
_GREATEST_ID = UUID("ffffffff-ffff-7fff-bfff-ffffffffffff")


@dataclass(frozen=True)
class Cursor:
    """A place between jobs: where a page ended.

    Args:
        id: of the job beside it.
        finished_at: when that ended, where jobs are in the order of their ends.
    """

    id: UUID
    finished_at: datetime | None = None

    def __str__(self) -> str:
        if self.finished_at is None:
            return str(self.id)
        moment = self.finished_at
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
        return f"{(moment - _EPOCH) // timedelta(microseconds=1)}_{self.id}"

    def moved(self, step: int) -> Cursor:
        """The place before or behind the job beside which this one is."""
        if self.id in (_LEAST_ID, _GREATEST_ID):
            return self
        return replace(self, id=UUID(int=self.id.int + step))

    @classmethod
    def from_text(cls, text: str) -> Cursor:
        """What ``str()`` made a text of.

        Raises:
            ValueError: nothing did.
        """
        microseconds, _, key = text.rpartition("_")
        if not microseconds:
            return cls(UUID(key))
        try:
            moment = _EPOCH + timedelta(microseconds=int(microseconds))
        except OverflowError:
            raise ValueError(text) from None
        zone = UTC if settings.USE_TZ else None
        return cls(UUID(key), moment.replace(tzinfo=zone))


@dataclass(frozen=True)
class Page:
    """Some jobs of a selection.

    Args:
        ids: theirs, in order.
        newer: where newer ones begin, if there may be any.
        older: where older ones begin, if there may be any.
        is_cut: whether it has less than there is room for, because so many others had
            to be passed over.
    """

    ids: Sequence[UUID] = ()
    newer: Cursor | None = None
    older: Cursor | None = None
    is_cut: bool = False

    @property
    def is_first(self) -> bool:
        """Whether there are no newer ones."""
        return self.newer is None


@dataclass(frozen=True)
class Count:
    """How many jobs: so many, or ``is_more``."""

    number: int
    is_more: bool


class Walk:
    """A way through the jobs of a selection."""

    #: Whether jobs are in the order of their ends, not of their ids.
    by_end = False

    @property
    def budget(self) -> int:
        """Rows that are looked at for one page."""
        return BUDGET

    def __init__(self, selection: Selection) -> None:
        self._selection = selection

    def page(
        self, size: int, before: Cursor | None = None, after: Cursor | None = None
    ) -> Page:
        """The jobs next to a place, or the newest.

        Args:
            size: how many at the most.
            before: where older ones are wanted.
            after: where newer ones are wanted.
        """
        before, after = self._of_mine(before), self._of_mine(after)
        if after is not None:
            found, end = self._next(after, size, newer=True)
            rest = end or (found[size - 1] if len(found) > size else None)
            ids = [cursor.id for cursor in found[:size]][::-1]
            older = found[0] if found else after.moved(1)
            return Page(ids, rest, older, end is not None)
        found, end = self._next(before, size, newer=False)
        rest = end or (found[size - 1] if len(found) > size else None)
        newer = None if before is None else (found[0] if found else before.moved(-1))
        return Page([c.id for c in found[:size]], newer, rest, end is not None)

    def _of_mine(self, cursor: Cursor | None) -> Cursor | None:
        # A place in the other order is no place here.
        if cursor is None or (cursor.finished_at is not None) != self.by_end:
            return None
        return cursor

    def count(self) -> Count:
        """How many jobs there are, as far as one looks."""
        raise NotImplementedError

    def _next(
        self, start: Cursor | None, size: int, *, newer: bool
    ) -> tuple[list[Cursor], Cursor | None]:
        """The jobs next to ``start``, and one more than a page if there are as many.

        Returns:
            The jobs, and where to look further, if they are fewer only because so many
            had to be passed over.
        """
        raise NotImplementedError


def walk(selection: Selection) -> Walk:
    """The quickest way through the jobs of ``selection``.

    In which order it goes depends on what is asked for, never on what there is: or a
    page's end could not be the beginning of the next.
    """
    s = selection
    if (s.sought and s.sought.ids) or s.parent or s.creator or s.schedule:
        return ByIdWalk(s)
    finished_only = len(s.status) == 1 and s.status[0] in FINISHED
    if s.status and not finished_only and (few := _few_of_status(s)):
        return few
    if s.exception and (few := _few_of_exception(s)):
        return few
    if s.exception or (s.sought and s.sought.error):
        return ByErrorWalk(s)
    return ByEndWalk(s) if finished_only else ByIdWalk(s)


def batches(
    selection: Selection, size: int, before: Cursor | None = None
) -> Iterator[tuple[Sequence[UUID], Cursor | None]]:
    """All jobs of ``selection``, so many at a time, each but once.

    Args:
        size: how many at a time.
        before: where to begin, if not with the newest.

    Yields:
        The ids of some jobs, and where the others begin; None behind the last.
    """
    way = walk(selection)
    while True:
        page = way.page(size, before=before)
        if page.ids:
            yield page.ids, page.older
        if page.older is None:
            return
        before = page.older


# -- few


class FewWalk(Walk):
    """Through few jobs, which an index knows: all of them at once."""

    def __init__(self, selection: Selection, groups: Iterable[QuerySet[Any]]) -> None:
        super().__init__(selection)
        self._groups = groups

    def count(self) -> Count:
        return Count(len(self._ids), is_more=False)

    def _next(
        self, start: Cursor | None, size: int, *, newer: bool
    ) -> tuple[list[Cursor], Cursor | None]:
        if newer and start:
            found = [pk for pk in reversed(self._ids) if pk > start.id]
        else:
            found = [pk for pk in self._ids if start is None or pk < start.id]
        return [Cursor(pk) for pk in found[: size + 1]], None

    @cached_property
    def _ids(self) -> list[UUID]:
        # In no order: asked for one, databases walk along the ids of all jobs.
        return sorted({pk for rows in self._groups for pk in rows}, reverse=True)


def _few_of_status(selection: Selection) -> FewWalk | None:
    rows = [_jobs().of_status(status) for status in selection.status]
    room = BUDGET
    for one in rows:
        # A worker has few.
        room -= count_up_to(room, one) if selection.status != (Status.RUNNING,) else 0
        if room < 0:
            return None
    groups = [one.filter(selection.condition()).order_by() for one in rows]
    return FewWalk(selection, [one.values_list("pk", flat=True) for one in groups])


def _few_of_exception(selection: Selection) -> FewWalk | None:
    rows = Attempt.objects.using(get_engine().alias)
    attempts = rows.filter(exception_class_path=selection.exception)
    if count_up_to(BUDGET, attempts) > BUDGET:
        return None
    jobs = _jobs().filter(selection.condition(), pk__in=attempts.values("job"))
    return FewWalk(selection, [jobs.order_by().values_list("pk", flat=True)])


# -- many


class KeyWalk(Walk):
    """Along an index, past no more rows than the budget allows."""

    #: The columns of the index by which rows are in order.
    order: Sequence[str]

    @property
    def budget(self) -> int:
        return max(BUDGET // SCATTERED, 1)

    def count(self) -> Count:
        bounds, end = self._window(self._bounds, Q(), newer=False)
        found = count_up_to(BUDGET, self._fitting(bounds))
        return Count(min(found, BUDGET), is_more=end is not None or found > BUDGET)

    def _next(
        self, start: Cursor | None, size: int, *, newer: bool
    ) -> tuple[list[Cursor], Cursor | None]:
        bounds, beyond, passed = self._bounds, Q(), Q()
        if start is not None:
            key = self._key(start)
            bounds = bounds.within(Bounds(low=key) if newer else Bounds(high=key))
            beyond = self._beyond(start, newer=newer)
            passed = self._passed(start)
        bounds, end = self._window(bounds, passed, newer=newer)
        order = self.order if newer else [f"-{name}" for name in self.order]
        rows = self._fitting(bounds).filter(beyond).order_by(*order)
        keys = rows.values_list(*self.order)[: size + 1]
        found = [self._cursor(key) for key in keys]
        return found, None if len(found) > size else end

    def _window(
        self, bounds: Bounds, passed: Q, *, newer: bool
    ) -> tuple[Bounds, Cursor | None]:
        """What of ``bounds`` may be looked at, and where that ends if before them."""
        if self._all_fit:
            return bounds, None
        first = self.order[0]
        rows = self._rows.filter(bounds.of(first), passed)
        keys = rows.order_by(first if newer else f"-{first}")
        # A slice of an index, and no more than that: the last one, and if there are more.
        budget = self.budget
        last = list(keys.values_list(first, flat=True)[budget - 1 : budget + 1])
        if len(last) < 2:
            return bounds, None
        side = Bounds(high=last[0]) if newer else Bounds(low=last[0])
        return bounds.within(side), self._end(last[0], newer=newer)

    @cached_property
    def _rows(self) -> QuerySet[Any]:
        """Those that the index leads to."""
        raise NotImplementedError

    @cached_property
    def _bounds(self) -> Bounds:
        """Between which keys of theirs."""
        raise NotImplementedError

    @cached_property
    def _rest(self) -> Q:
        """What else jobs of the selection have in common."""
        raise NotImplementedError

    @property
    def _all_fit(self) -> bool:
        return not self._rest

    def _fitting(self, bounds: Bounds) -> QuerySet[Any]:
        return self._rows.filter(bounds.of(self.order[0]), self._rest)

    def _key(self, cursor: Cursor) -> Any:
        return cursor.id

    def _beyond(self, start: Cursor, *, newer: bool) -> Q:
        """That a row is on the other side of ``start``, within bounds that end there."""
        return self._passed(start)

    def _passed(self, start: Cursor) -> Q:
        """The same, as far as the first column of the index knows."""
        return ~Q(**{self.order[0]: start.id})

    def _end(self, key: Any, *, newer: bool) -> Cursor:
        return Cursor(key)

    def _cursor(self, key: Sequence[Any]) -> Cursor:
        return Cursor(key[0])


class ByIdWalk(KeyWalk):
    """The newest first: along all ids, or those of a parent, a creator, a schedule."""

    order = ("pk",)

    @property
    def budget(self) -> int:
        # Jobs lie in the order of their ids; those of one creator, here and there.
        return super().budget if self._prefix else BUDGET

    @cached_property
    def _rows(self) -> QuerySet[Any]:
        return _jobs().filter(**self._prefix)

    @cached_property
    def _bounds(self) -> Bounds:
        ended_before = self._selection.finished_before
        if not ended_before:
            return self._selection.ids
        # It was enqueued before that, too.
        latest = first_id_of(ended_before + CLOCKS_APART)
        return self._selection.ids.within(Bounds(high=latest))

    @cached_property
    def _rest(self) -> Q:
        return self._selection.condition("ids", *self._prefix)

    @cached_property
    def _prefix(self) -> dict[str, Any]:
        for name in ("parent", "creator", "schedule"):
            if value := getattr(self._selection, name):
                return {name: value}
        return {}


class ByEndWalk(KeyWalk):
    """What ended last first, of one status."""

    by_end = True
    order = ("finished_at", "pk")

    @cached_property
    def _rows(self) -> QuerySet[Any]:
        (status,) = self._selection.status
        return _jobs().of_status(status)

    @cached_property
    def _bounds(self) -> Bounds:
        return self._selection.ends

    @cached_property
    def _rest(self) -> Q:
        return self._selection.condition("status", "ends")

    def _key(self, cursor: Cursor) -> Any:
        # All that ended in that moment may have been passed: see _end().
        step = {_LEAST_ID: -timedelta.resolution, _GREATEST_ID: timedelta.resolution}
        return (cursor.finished_at or _EPOCH) + step.get(cursor.id, timedelta(0))

    def _passed(self, start: Cursor) -> Q:
        return Q()

    def _beyond(self, start: Cursor, *, newer: bool) -> Q:
        # Many end in the same moment.
        side = "gt" if newer else "lt"
        return ~Q(finished_at=start.finished_at) | Q(**{f"pk__{side}": start.id})

    def _end(self, key: Any, *, newer: bool) -> Cursor:
        # Whatever ended in the same moment has been looked at, too.
        return Cursor(_GREATEST_ID if newer else _LEAST_ID, key)

    def _cursor(self, key: Sequence[Any]) -> Cursor:
        return Cursor(key[1], key[0])


class ByErrorWalk(KeyWalk):
    """The newest first of those that failed: along the attempts, by their jobs' ids."""

    order = ("job_id",)

    @cached_property
    def _rows(self) -> QuerySet[Any]:
        return Attempt.objects.using(get_engine().alias)

    @cached_property
    def _bounds(self) -> Bounds:
        return self._selection.ids

    @cached_property
    def _rest(self) -> Q:
        s = self._selection
        if s.exception:
            # Whether it was the last one as well, is said of the job.
            return ended_by(s.exception) & self._of_jobs()
        error = s.sought.error if s.sought else ""
        return Q(error__icontains=error) & self._of_jobs("search")

    def _of_jobs(self, *seen_to: str) -> Q:
        rest = self._selection.condition("ids", *seen_to)
        return Q(Exists(_jobs().filter(rest, pk=OuterRef("job_id")))) if rest else Q()

    def _fitting(self, bounds: Bounds) -> QuerySet[Any]:
        # A job has several attempts.
        return super()._fitting(bounds).order_by().values("job_id").distinct()

    def count(self) -> Count:
        bounds, end = self._window(self._bounds, Q(), newer=False)
        found = self._fitting(bounds)[: BUDGET + 1].count()
        return Count(min(found, BUDGET), is_more=end is not None or found > BUDGET)


def _jobs() -> JobQuerySet:
    return Job.objects.using(get_engine().alias)
