"""SQLite: the embedded queue. One writer at a time, so write briefly and lock early."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from django_bgtasks.models import Job
from django_bgtasks.store.engines.base import HOP_ALONG_QUEUES, Engine

_CLAIM = """
    UPDATE {job}
    SET status = 'RUNNING', attempt = attempt + 1, run_token = run_token + 1,
        worker = %s, last_worker = %s, started_at = %s
    WHERE id IN (
        SELECT id FROM {job} WHERE status = 'READY' AND queue = %s
        ORDER BY priority DESC, id LIMIT %s)
    RETURNING *
"""


class SQLiteEngine(Engine):
    ready_queues_sql = HOP_ALONG_QUEUES

    def is_conflict(self, error: Exception) -> bool:
        return "database is locked" in str(error)

    def prepare(self) -> None:
        # Readers and the writer do not block each other in WAL. The mode stays with
        # the file; where it cannot be (a network disk), the old one stays. NORMAL
        # leaves out the wait for the disk at each commit of this connection: after
        # a power cut a job may run again, but none is lost, for the commits of
        # those who enqueue wait as they did.
        with self.connection.cursor() as cursor:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = NORMAL")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        # A deferred transaction that reads and then writes fails at once when
        # another connection wrote in between; an immediate one waits its turn.
        connection: Any = self.connection
        connection.ensure_connection()
        configured = connection.transaction_mode
        connection.transaction_mode = "IMMEDIATE"
        try:
            with transaction.atomic(using=self.alias):
                yield
        finally:
            connection.transaction_mode = configured

    def claim(self, queue: str, limit: int, worker: UUID, now: datetime) -> list[Job]:
        if not self.connection.features.can_return_columns_from_insert:
            # Before SQLite 3.35.
            return super().claim(queue, limit, worker, now)
        key = worker.hex
        moment = self.connection.ops.adapt_datetimefield_value(now)
        statement = _CLAIM.format(job=self.quote(Job._meta.db_table))
        jobs = Job.objects.raw(
            statement, [key, key, moment, queue, limit], using=self.alias
        )
        # RETURNING promises no order.
        return sorted(jobs, key=lambda job: (-job.priority, job.pk))
