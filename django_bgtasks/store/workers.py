"""Worker rows: who is alive, and who is not."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet

from django_bgtasks.conf import get_settings
from django_bgtasks.models import Job, JobQuerySet, Worker
from django_bgtasks.models.worker import Instruction
from django_bgtasks.store.engines import get_engine
from django_bgtasks.version import VERSION


def register(
    worker: UUID,
    *,
    hostname: str,
    pid: int,
    queues: Sequence[str],
    threads: int,
    now: datetime,
    instruction: str = "",
) -> Worker:
    """Write and return the row of a worker that starts.

    Args:
        worker: its id. There is a row already if it is to run what another one left.
        queues: the names it works on; empty for all.
        now: the time by the database's clock.
        instruction: what the one was told in whose place it is.
    """
    engine = get_engine()
    # Many begin at the same time, and others end meanwhile.
    with engine.transaction():
        row, _ = Worker.objects.using(engine.alias).update_or_create(
            id=worker,
            defaults={
                "hostname": hostname,
                "pid": pid,
                "queues": list(queues),
                "threads": threads,
                "version": VERSION,
                "started_at": now,
                "heartbeat_at": now,
                **({"instruction": instruction} if instruction else {}),
            },
        )
    return row


def beat(workers: Collection[UUID], now: datetime, *, memory: int | None = None) -> int:
    """Say that ``workers`` are alive.

    Args:
        now: the time by the database's clock.
        memory: bytes that a worker which beats for itself takes; None: who beats does
            not know.

    Returns:
        How many of them have a row. One that has none was taken for dead.
    """
    rows = Worker.objects.using(get_engine().alias).filter(pk__in=workers)
    if memory is None:
        return rows.update(heartbeat_at=now)
    return rows.update(heartbeat_at=now, memory=memory)


def instruct(workers: Collection[UUID], instruction: str) -> int:
    """Tell ``workers`` what to do; they hear of it within about a second.

    What was told to stop cannot be told otherwise any more.

    Args:
        instruction: an ``Instruction``; empty to work as ever.

    Returns:
        To how many of them that is new.
    """
    rows = Worker.objects.using(get_engine().alias).filter(pk__in=workers)
    others = rows.exclude(instruction__in=(instruction, Instruction.STOP))
    return others.update(instruction=instruction)


def instruction_of(worker: UUID) -> str | None:
    """What a worker was told last, or empty; None if it has no row."""
    rows = Worker.objects.using(get_engine().alias).filter(pk=worker)
    return rows.values_list("instruction", flat=True).first()


def is_claiming(instruction: str) -> bool:
    """Whether a worker that was told so claims jobs.

    It does if a newer version has told it what this one does not know.
    """
    return instruction not in Instruction.values


def lost_at(worker: Worker) -> datetime:
    """When a worker counts as lost, unless it is heard of before."""
    return worker.heartbeat_at + get_settings().heartbeat_timeout


def is_live(worker: Worker, now: datetime) -> bool:
    """Whether a worker was heard of lately.

    Args:
        now: the time by the database's clock.
    """
    return now < lost_at(worker)


def claims_from(queues: Sequence[str], queue: str) -> bool:
    """Whether a worker of these ``queues``, which may be all, claims from ``queue``."""
    if not queues:
        return True
    if get_engine().ignores_case:
        return queue.casefold() in map(str.casefold, queues)
    return queue in queues


def lost(now: datetime, timeout: timedelta) -> QuerySet[Worker]:
    """The workers that were not heard of for ``timeout``."""
    rows = Worker.objects.using(get_engine().alias)
    return rows.filter(heartbeat_at__lte=now - timeout)


def take_lost(
    now: datetime, timeout: timedelta, among: Collection[UUID] | None = None
) -> list[Worker]:
    """Those that are ``lost``, each given to one who asks, to be rescued.

    If that one dies as well, it is lost again after the same time.

    Args:
        among: only of these; None: of all.
    """
    silent = lost(now, timeout)
    if among is not None:
        silent = silent.filter(pk__in=among)
    return [w for w in silent if silent.filter(pk=w.pk).update(heartbeat_at=now)]


def orphans() -> JobQuerySet:
    """Running jobs of workers that have no row."""
    alias = get_engine().alias
    its_row = Worker.objects.using(alias).filter(pk=OuterRef("worker"))
    running = Job.objects.using(alias)
    return running.filter(worker__isnull=False).exclude(Exists(its_row))


def register_missing(now: datetime, timeout: timedelta) -> None:
    """Give rows to workers that have running jobs but none, as lost ones.

    A worker that was frozen may have claimed once more before it could know that it
    was taken for dead.
    """
    missing = [
        Worker(
            id=worker,
            hostname="",
            pid=0,
            threads=0,
            started_at=now - timeout,
            heartbeat_at=now - timeout,
        )
        for worker in orphans().values_list("worker", flat=True).distinct()
    ]
    if missing:
        rows = Worker.objects.using(get_engine().alias)
        rows.bulk_create(missing, ignore_conflicts=True)


def deregister(worker: UUID) -> None:
    """Delete the row of a worker that has ended."""
    Worker.objects.using(get_engine().alias).filter(pk=worker).delete()
