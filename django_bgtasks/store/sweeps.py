"""Doing something to any number of jobs, a short transaction at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils.dateparse import parse_datetime

from django_bgtasks.models import Job, JobQuerySet
from django_bgtasks.models.job import Status
from django_bgtasks.store import lifecycle, walking
from django_bgtasks.store.counting import count_up_to
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.lifecycle import CancelCounts
from django_bgtasks.store.maintenance import BATCH
from django_bgtasks.store.selection import Selection
from django_bgtasks.store.walking import Cursor

#: What may be cancelled, in the order in which jobs go through them.
CANCELLABLE = (Status.SCHEDULED, Status.READY, Status.RUNNING)
#: What may be retried.
RETRYABLE = (Status.FAILED, Status.CANCELLED)
#: What no worker has claimed yet.
WAITING = (Status.SCHEDULED, Status.READY)


@dataclass(frozen=True)
class Deed:
    """Something that can be done to many jobs.

    Args:
        statuses: what it can be done to; others are left as they are.
        do: does it to jobs, given who wants it and what else it asks for (as JSON has
            it), and says what became of how many.
    """

    statuses: Sequence[str]
    do: Callable[..., Mapping[str, int]]


def _cancel(jobs: JobQuerySet, by: str) -> Mapping[str, int]:
    return lifecycle.cancel(jobs, by=by)._asdict()


def _retry(jobs: JobQuerySet, by: str) -> Mapping[str, int]:
    return {"retried": lifecycle.retry(jobs)}


def _run_now(jobs: JobQuerySet, by: str) -> Mapping[str, int]:
    return {"ready": lifecycle.run_now(jobs)}


def _set_priority(jobs: JobQuerySet, by: str, priority: int) -> Mapping[str, int]:
    return {"changed": lifecycle.set_priority(jobs, priority)}


def _move(jobs: JobQuerySet, by: str, queue: str) -> Mapping[str, int]:
    return {"moved": lifecycle.move(jobs, queue)}


def _reschedule(jobs: JobQuerySet, by: str, run_after: str) -> Mapping[str, int]:
    moment = parse_datetime(run_after)
    if moment is None:
        raise ValueError(run_after)
    return {"changed": lifecycle.reschedule(jobs, moment)}


def _delete(jobs: JobQuerySet, by: str) -> Mapping[str, int]:
    return {"deleted": lifecycle.delete(jobs)}


#: All of them, by the names that jobs which do them are given.
DEEDS: Mapping[str, Deed] = {
    "retry": Deed(RETRYABLE, _retry),
    "cancel": Deed(CANCELLABLE, _cancel),
    "run_now": Deed((Status.SCHEDULED,), _run_now),
    "set_priority": Deed(WAITING, _set_priority),
    "move": Deed(WAITING, _move),
    "reschedule": Deed(WAITING, _reschedule),
    "delete": Deed((*WAITING, Status.SUCCESSFUL, *RETRYABLE), _delete),
}


@dataclass(frozen=True)
class Sweep:
    """One deed, to be done to all jobs of a selection.

    Args:
        deed: the name of one of ``DEEDS``.
        selection: to which jobs; ``upto`` says which ones were there when it was asked
            for.
        options: what the deed asks for.
        by: who wants it.
        asked_at: when: what has finished since is not retried again.
        spared: the job that does it.
        guarded: tasks whose jobs are not retried.
    """

    deed: str
    selection: Selection
    options: Mapping[str, Any]
    by: str
    asked_at: datetime
    spared: UUID | None = None
    guarded: Collection[str] = ()

    def go(
        self, before: Cursor | None = None, limit: int = BATCH
    ) -> Iterator[tuple[int, Counter[str], Cursor | None]]:
        """Do it.

        Args:
            before: where to go on, if some of it was done before.
            limit: how many jobs in one transaction.

        Yields:
            After each transaction, how many jobs were looked at, what became of how
            many, and where the others begin.
        """
        for ids, rest in walking.batches(self.selection, limit, before):
            yield len(ids), self._do(ids), rest

    def count(self, limit: int) -> int:
        """How many jobs there are; more than ``limit`` if there are."""
        return count_up_to(limit, self.selection.jobs())

    def _do(self, ids: Sequence[UUID]) -> Counter[str]:
        deed = DEEDS[self.deed]
        # A job may have gone on since; then it is not one of those that were meant.
        meant = set(self.selection.status or deed.statuses) & set(deed.statuses)
        if not meant:
            return Counter()
        rows = Job.objects.using(get_engine().alias).filter(
            pk__in=ids, status__in=meant
        )
        if self.spared:
            rows = rows.exclude(pk=self.spared)
        if self.deed == "retry":
            rows = to_retry(rows, self.asked_at).exclude(task__in=self.guarded)
        return Counter(deed.do(rows, self.by, **self.options))


def to_cancel(jobs: JobQuerySet) -> JobQuerySet:
    """Those of ``jobs`` that ``cancel`` would change something about."""
    return jobs.filter(cancel_requested_at=None, finished_at=None)


def to_retry(jobs: JobQuerySet, now: datetime) -> JobQuerySet:
    """Those of ``jobs`` that finished before ``now``: each is retried but once."""
    return jobs.filter(finished_at__lte=now)


def count(jobs: JobQuerySet, statuses: Sequence[str], limit: int) -> int:
    """How many of ``jobs`` have these statuses; more than ``limit`` if there are."""
    total = 0
    for status in statuses:
        total += count_up_to(limit - total, jobs.of_status(status))
        if total > limit:
            break
    return total


def cancel(
    jobs: JobQuerySet, statuses: Sequence[str], *, by: str, limit: int = BATCH
) -> Iterator[CancelCounts]:
    """Cancel those of ``jobs`` that have these statuses, until there are none.

    Args:
        by: who wants it.
        limit: how many in one transaction.

    Yields:
        After each transaction, how many were cancelled and asked to stop in it.
    """
    for batch in _batches(to_cancel(jobs), statuses, limit):
        yield lifecycle.cancel(batch, by=by)


def retry(
    jobs: JobQuerySet, statuses: Sequence[str], limit: int = BATCH
) -> Iterator[int]:
    """Retry those of ``jobs`` that have these statuses and finished before now.

    Args:
        limit: how many in one transaction.

    Yields:
        After each transaction, how many were retried in it.
    """
    ended = to_retry(jobs, get_engine().now())
    for batch in _batches(ended, statuses, limit):
        yield lifecycle.retry(batch)


def _batches(
    jobs: JobQuerySet, statuses: Sequence[str], limit: int
) -> Iterator[JobQuerySet]:
    """Slices of ``jobs``, each of which should be gone when the next one is cut.

    Status by status, for an index leads to the jobs of each. Jobs change theirs
    meanwhile, so all are gone through until there is nothing in any of them.
    """
    alias = get_engine().alias
    left: set[UUID] = set()
    found = True
    while found:
        found = False
        for status in statuses:
            rows = jobs.using(alias).of_status(status)
            while batch := _slice(rows, left, limit):
                found = True
                # By their keys: with all conditions, some database would look for them
                # along another index. The status is what may have changed by now.
                chosen = Job.objects.using(alias).filter(pk__in=batch, status=status)
                yield chosen
                # What could not be changed would come again for ever.
                left.update(chosen.values_list("pk", flat=True))


def _slice(rows: JobQuerySet, left: Collection[UUID], limit: int) -> list[UUID]:
    # Not in any order: that might not be the index's.
    others = rows.exclude(pk__in=left) if left else rows
    return list(others.order_by().values_list("pk", flat=True)[:limit])
