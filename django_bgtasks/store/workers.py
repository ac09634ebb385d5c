"""Worker rows: who is alive."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django_bgtasks.models import Worker
from django_bgtasks.store.engines import get_engine


def register(
    *, hostname: str, pid: int, queues: Sequence[str], threads: int, now: datetime
) -> Worker:
    """Write and return the row of a worker that starts.

    Args:
        queues: the names it works on; empty for all.
        now: the time by the database's clock.
    """
    worker = Worker(
        hostname=hostname,
        pid=pid,
        queues=list(queues),
        threads=threads,
        started_at=now,
        heartbeat_at=now,
    )
    worker.save(force_insert=True, using=get_engine().alias)
    return worker


def beat(worker: UUID, now: datetime) -> bool:
    """Say that ``worker`` is alive; False if its row is gone."""
    rows = Worker.objects.using(get_engine().alias)
    return bool(rows.filter(pk=worker).update(heartbeat_at=now))


def deregister(worker: UUID) -> None:
    """Delete the row of a worker that ends."""
    Worker.objects.using(get_engine().alias).filter(pk=worker).delete()
