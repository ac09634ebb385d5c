"""What keeps the table in shape: due jobs made ready, old ones deleted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from django_bgtasks.models import Attempt, Job, JobQuerySet
from django_bgtasks.models.job import Status
from django_bgtasks.store import wakeup
from django_bgtasks.store.engines import get_engine

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
    # Asked first without a lock, for most of the time there is nothing to do.
    if not due.exists():
        return 0
    with engine.transaction():
        ids = list(
            due.order_by("run_after")
            .select_for_update(skip_locked=engine.skips_locked)
            .values_list("pk", flat=True)[:limit]
        )
        wakeup.call()
        return rows.filter(pk__in=sorted(ids)).update(status=Status.READY)


def next_due(now: datetime) -> datetime | None:
    """When the first SCHEDULED job will be due that is not yet; None without any."""
    later = Job.objects.using(get_engine().alias).scheduled().filter(run_after__gt=now)
    return later.order_by("run_after").values_list("run_after", flat=True).first()


def prune(
    now: datetime, retention: Mapping[str, timedelta | None], limit: int = BATCH
) -> int:
    """Delete jobs that finished longer ago than ``retention`` says, oldest first.

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
        for status, age in retention.items():
            if age is not None and len(ids) < limit:
                ids += (
                    _prunable(now, status, age)
                    .select_for_update(skip_locked=engine.skips_locked)
                    .values_list("pk", flat=True)[: limit - len(ids)]
                )
        if not ids:
            return 0
        rows = Job.objects.using(engine.alias).filter(pk__in=ids)
        if _only_attempts_refer_to_jobs():
            # delete() would fetch every row first, to cascade from it.
            Attempt.objects.using(engine.alias).filter(job__in=ids).delete()
            rows._raw_delete(engine.alias)
        else:
            rows.delete()
        return len(ids)


def _only_attempts_refer_to_jobs() -> bool:
    related = [relation.related_model for relation in Job._meta.related_objects]
    return related == [Attempt]


def count_prunable(now: datetime, retention: Mapping[str, timedelta | None]) -> int:
    """How many jobs ``prune`` would delete in all."""
    return sum(
        _prunable(now, status, age).count()
        for status, age in retention.items()
        if age is not None
    )


def _prunable(now: datetime, status: str, age: timedelta) -> JobQuerySet:
    rows = Job.objects.using(get_engine().alias)
    return rows.filter(status=status, finished_at__lte=now - age).order_by(
        "finished_at"
    )
