"""The portable engine: plain ORM, right on every database Django knows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F
from django.utils import timezone

from django_bgtasks.models import Job, Queue
from django_bgtasks.models.job import Status

#: A job that ran, and what it returned.
Success = tuple[Job, Any]

#: For databases whose DISTINCT would read every READY job: hops from name to name along
#: the claim index.
HOP_ALONG_QUEUES = """
    WITH RECURSIVE ready(name) AS (
        SELECT MIN(queue) FROM {job} WHERE status = 'READY'
        UNION ALL
        SELECT (SELECT MIN(queue) FROM {job}
                WHERE status = 'READY' AND queue > ready.name)
        FROM ready WHERE ready.name IS NOT NULL)
    SELECT name FROM ready WHERE name IS NOT NULL
"""


class Engine:
    """How jobs are claimed and settled on one connection."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.alias = connection.alias

    def prepare(self) -> None:
        """Set up a worker's connection, after each time it was opened."""

    def now(self) -> datetime:
        """The time by the clock that all workers share: the database's.

        Here the host's own, for an embedded database has no other.
        """
        return timezone.now()

    def transaction(self) -> AbstractContextManager[None]:
        """A transaction that is going to write."""
        return transaction.atomic(using=self.alias)

    def is_transient(self, error: Exception) -> bool:
        """Whether trying again may help: a lost connection, a lock, a deadlock."""
        return isinstance(error, (OperationalError, InterfaceError))

    def is_conflict(self, error: Exception) -> bool:
        """Whether another transaction stood in the way: a deadlock, a lock, a race.

        This one changed nothing, and may be tried again at once.
        """
        return False

    def wait_briefly_for_locks(self) -> None:
        """From now on, fail where another transaction holds a lock for seconds."""

    #: Selects the names of all queues with READY jobs.
    ready_queues_sql = "SELECT DISTINCT queue AS name FROM {job} WHERE status = 'READY'"

    def ready_queues(self, among: Sequence[str] = ()) -> list[str]:
        """Names of the queues with READY jobs, without the paused ones.

        Args:
            among: only these; empty for all. What counts as the same name is the
                database's to say.
        """
        ready = self.ready_queues_sql.format(job=self.quote(Job._meta.db_table))
        paused = self.quote(Queue._meta.db_table)
        sql = (
            f"SELECT name FROM ({ready}) AS ready WHERE name NOT IN "  # noqa: S608 (our own tables)
            f"(SELECT name FROM {paused} WHERE paused_at IS NOT NULL)"
        )
        if among:
            sql += f" AND name IN ({', '.join(['%s'] * len(among))})"
        with self.connection.cursor() as cursor:
            cursor.execute(f"{sql} ORDER BY name", list(among))
            return [name for (name,) in cursor.fetchall()]

    def claim(self, queue: str, limit: int, worker: UUID, now: datetime) -> list[Job]:
        """Make up to ``limit`` READY jobs of ``queue`` RUNNING for ``worker``.

        Rows that another worker is claiming are passed over, not waited for.

        Returns:
            The jobs, highest priority first, then oldest first.
        """
        skip_locked = self.connection.features.has_select_for_update_skip_locked
        with self.transaction():
            jobs = list(
                Job.objects.using(self.alias)
                .ready()
                .filter(queue=queue)
                .order_by("-priority", "id")
                .select_for_update(skip_locked=skip_locked)[:limit]
            )
            # Locked above, written by key: never an upgrade from a shared lock.
            Job.objects.using(self.alias).filter(
                pk__in=sorted(job.pk for job in jobs)
            ).update(
                status=Status.RUNNING,
                attempt=F("attempt") + 1,
                run_token=F("run_token") + 1,
                worker=worker,
                last_worker=worker,
                started_at=now,
            )
        for job in jobs:
            _mark_claimed(job, worker, now)
        return jobs

    def finish_successful(
        self, successes: Sequence[Success], worker: UUID, now: datetime
    ) -> set[UUID]:
        """Record successes, each only if ``worker`` still has that run of the job.

        Returns:
            Ids of the jobs that were recorded.
        """
        return {
            job.pk
            for job, value in successes
            if running(job, worker, self.alias).update(
                status=Status.SUCCESSFUL, finished_at=now, worker=None, result=value
            )
        }

    def quote(self, name: str) -> str:
        """``name`` as an SQL identifier."""
        return self.connection.ops.quote_name(name)


def running(job: Job, worker: UUID | None, alias: str) -> Any:
    """The row of ``job``, as long as ``worker`` still has this run of it.

    On every write about a running job. A worker that was taken for dead finds no
    row here, and so changes nothing.
    """
    return Job.objects.using(alias).filter(
        pk=job.pk, worker=worker, run_token=job.run_token
    )


def _mark_claimed(job: Job, worker: UUID, now: datetime) -> None:
    job.status = Status.RUNNING
    job.attempt += 1
    job.run_token += 1
    job.worker = job.last_worker = worker
    job.started_at = now
