"""What keeps the table in shape: due jobs made ready, old ones deleted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Min

from django_bgtasks.models import Job, JobQuerySet
from django_bgtasks.models.job import Status
from django_bgtasks.signals import jobs_cancelled
from django_bgtasks.store import wakeup
from django_bgtasks.store.counting import count_up_to
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.engines.base import delete_jobs
from django_bgtasks.store.expiry import cancel_expired, expired_by
from django_bgtasks.store.lifecycle import tell_of

#: Rows that one transaction touches at the most, so that none is held for long.
BATCH = 500


def promote(now: datetime, limit: int = BATCH) -> int:
    """Make SCHEDULED jobs READY whose time has come, up to ``limit`` of them.

    Args:
        now: the time by the database's clock.

    Returns:
        How many there were.
    """
    engine = get_engine()
    rows = Job.objects.using(engine.alias)
    due = rows.scheduled().filter(run_after__lte=now)
    with engine.transaction():
        ids = list(
            due.order_by("run_after")
            .select_for_update(skip_locked=engine.skips_locked)
            .values_list("pk", flat=True)[:limit]
        )
        if not ids:
            return 0
        wakeup.call()
        return rows.filter(pk__in=sorted(ids)).update(status=Status.READY)


def next_due(after: datetime | None = None) -> datetime | None:
    """When the first SCHEDULED job is due; None without any.

    Args:
        after: leave out those that are due by then.
    """
    rows = Job.objects.using(get_engine().alias).scheduled()
    if after is not None:
        rows = rows.filter(run_after__gt=after)
    return rows.order_by("run_after").values_list("run_after", flat=True).first()


def prune(
    now: datetime, retention: Mapping[str, timedelta | None], limit: int = BATCH
) -> int:
    """Delete jobs that finished longer ago than they are kept, oldest first.

    What a job says itself goes before what ``retention`` says of all.

    Args:
        now: the time by the database's clock.
        retention: the age to keep by status; None keeps for ever.
        limit: how many to delete at the most, in one short transaction.

    Returns:
        How many were deleted; fewer than ``limit`` means none are left.
    """
    engine = get_engine()
    with engine.transaction():
        ids: list[UUID] = []
        for rows in _prunable(now, retention):
            if len(ids) < limit:
                ids += rows.select_for_update(
                    skip_locked=engine.skips_locked
                ).values_list("pk", flat=True)[: limit - len(ids)]
        if not ids:
            return 0
        delete_jobs(Job.objects.using(engine.alias), ids)
        return len(ids)


def expire(now: datetime, limit: int = BATCH) -> list[UUID]:
    """Cancel jobs that nobody has begun in time and that wait yet, up to ``limit``.

    Args:
        now: the time by the database's clock.

    Returns:
        Their ids.
    """
    engine = get_engine()
    rows = Job.objects.using(engine.alias)
    late = expired_by(rows, now)
    if not late.exists():
        return []
    with engine.transaction():
        ids = sorted(
            late.order_by("expires_at")
            .select_for_update(skip_locked=engine.skips_locked)
            .values_list("pk", flat=True)[:limit]
        )
        cancel_expired(rows.filter(pk__in=ids), now)
        tell_of(jobs_cancelled, ids, by="")
    return ids


def count_prunable(
    now: datetime,
    retention: Mapping[str, timedelta | None],
    limit: int | None = None,
) -> int:
    """How many jobs ``prune`` would delete in all.

    Args:
        limit: one more than that, if there are more; None counts all.
    """
    kinds = _prunable(now, retention)
    if limit is None:
        return sum(rows.count() for rows in kinds)
    return min(sum(count_up_to(limit, rows) for rows in kinds), limit + 1)


def _prunable(
    now: datetime, retention: Mapping[str, timedelta | None]
) -> list[JobQuerySet]:
    """Jobs to delete, oldest first: those that say how long they are kept, and others."""
    finished = Job.objects.using(get_engine().alias).finished().order_by("finished_at")
    # The row of a job that is unique for a period stands for it until then.
    free = finished.exclude(unique_key__isnull=False, unique_expires_at__gt=now)
    own = [
        free.filter(retention=age, finished_at__lte=now - age)
        for age in _own_retentions()
    ]
    return own + [
        free.filter(status=status, finished_at__lte=now - age, retention=None)
        for status, age in retention.items()
        if age is not None
    ]


def _own_retentions() -> Iterator[timedelta]:
    """What jobs say themselves, each once: hops from one to the next along the index."""
    rows = Job.objects.using(get_engine().alias).finished()
    ages = rows.filter(retention__isnull=False)
    while (age := ages.aggregate(least=Min("retention"))["least"]) is not None:
        yield age
        ages = rows.filter(retention__gt=age)
