"""PostgreSQL: one statement to claim a batch, one to finish a batch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from django_bgtasks.models import Job
from django_bgtasks.store.engines.base import HOP_ALONG_QUEUES, Engine, Success

# MATERIALIZED is a fence: without it the planner may run the subquery, and so its
# LIMIT and its locks, more than once.
_CLAIM = """
    WITH next AS MATERIALIZED (
        SELECT id FROM {job}
        WHERE status = 'READY' AND queue = %(queue)s
        ORDER BY priority DESC, id LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED)
    UPDATE {job} AS job
    SET status = 'RUNNING', attempt = attempt + 1, run_token = run_token + 1,
        worker = %(worker)s, last_worker = %(worker)s, started_at = %(now)s
    FROM next WHERE job.id = next.id
    RETURNING job.*
"""

# One map of results and ANY(): joining unnest(), the planner may choose to read the
# whole batch again for every row of it.
_FINISH = """
    UPDATE {job}
    SET status = 'SUCCESSFUL', finished_at = %(now)s, worker = NULL,
        result = %(results)s::jsonb -> id::text
    WHERE id = ANY(%(ids)s::uuid[]) AND worker = %(worker)s
        AND run_token = (%(tokens)s::jsonb ->> id::text)::int
    RETURNING id
"""


#: deadlock_detected, serialization_failure.
_CONFLICTS = {"40P01", "40001"}

#: read_only_sql_transaction: a server that is being failed over.
_READ_ONLY = "25006"


class PostgreSQLEngine(Engine):
    ready_queues_sql = HOP_ALONG_QUEUES

    def is_conflict(self, error: Exception) -> bool:
        return _sqlstate(error) in _CONFLICTS

    def is_transient(self, error: Exception) -> bool:
        return super().is_transient(error) or _sqlstate(error) == _READ_ONLY

    def wait_briefly_for_locks(self) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '2s'")

    def now(self) -> datetime:
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            (now,) = cursor.fetchone()
        # Aware or naive as USE_TZ has it: Django's connection sees to that.
        return cast("datetime", now)

    def claim(self, queue: str, limit: int, worker: UUID, now: datetime) -> list[Job]:
        statement = _CLAIM.format(job=self.quote(Job._meta.db_table))
        params = {"queue": queue, "limit": limit, "worker": worker, "now": now}
        jobs = Job.objects.raw(statement, params, using=self.alias)
        # RETURNING promises no order.
        return sorted(jobs, key=lambda job: (-job.priority, job.pk))

    def finish_successful(
        self, successes: Sequence[Success], worker: UUID, now: datetime
    ) -> set[UUID]:
        if not successes:
            return set()
        params: dict[str, Any] = {
            "now": now,
            "worker": worker,
            "ids": [job.pk for job, _ in successes],
            "tokens": json.dumps({str(job.pk): job.run_token for job, _ in successes}),
            # A missing key reads as NULL, which is how None is stored.
            "results": json.dumps(
                {str(job.pk): value for job, value in successes if value is not None}
            ),
        }
        with self.connection.cursor() as cursor:
            cursor.execute(_FINISH.format(job=self.quote(Job._meta.db_table)), params)
            return {pk for (pk,) in cursor.fetchall()}


def _sqlstate(error: Exception) -> str | None:
    return getattr(error.__cause__, "sqlstate", None)
