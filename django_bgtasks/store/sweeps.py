"""Cancelling and retrying any number of jobs, a short transaction at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from uuid import UUID

from django_bgtasks.models import Job, JobQuerySet
from django_bgtasks.models.job import Status
from django_bgtasks.store import lifecycle
from django_bgtasks.store.counting import count_up_to
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.lifecycle import CancelCounts
from django_bgtasks.store.maintenance import BATCH

#: What may be cancelled, in the order in which jobs go through them.
CANCELLABLE = (Status.SCHEDULED, Status.READY, Status.RUNNING)
#: What may be retried.
RETRYABLE = (Status.FAILED, Status.CANCELLED)


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
