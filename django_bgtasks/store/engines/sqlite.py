"""SQLite: the embedded queue. One writer at a time, so write briefly and lock early."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from django_bgtasks.models import Job, Queue
from django_bgtasks.store.engines.base import (
    CLAIMED_COLUMNS,
    HOP_ALONG_QUEUES,
    KEY_AFTER_START,
    KEY_AFTER_SUCCESS,
    UNLESS_TAKEN,
    Engine,
    Listener,
    Success,
    Want,
    claimed_job,
    mark_claimed,
    said_columns,
)

# Both directions in one piece of JSON: for every row that is fetched or bound by
# itself, Python's sqlite3 lets go of the GIL, and waits to get it back from the
# threads that run tasks.
# The plus keeps SQLite from going through all that the worker runs for every job.
_FINISH = """
    UPDATE {job}
    SET status = 'SUCCESSFUL', finished_at = %s, worker = NULL,
        result = json_extract(done.value, '$[1]'), unique_key = {key_after_success}
    FROM json_each(%s) AS done
    WHERE {job}.id = done.key AND +worker = %s
        AND run_token = json_extract(done.value, '$[0]')
"""

_SELECT = """
    SELECT json_group_array(json_array({columns})) FROM (
        SELECT * FROM {job} WHERE status = 'READY' AND queue = %s
        ORDER BY priority DESC, id LIMIT %s)
    WHERE NOT EXISTS (SELECT 1 FROM {queue} WHERE name = %s AND paused_at IS NOT NULL)
"""

_CLAIM = """
    UPDATE {job}
    SET status = 'RUNNING', attempt = attempt + 1, run_token = run_token + 1,
        worker = %s, last_worker = %s, started_at = %s, unique_key = {key_after_start}
    WHERE id IN (SELECT value FROM json_each(%s))
"""


_PRIORITY = CLAIMED_COLUMNS.index("priority")
_ENQUEUED_AT = CLAIMED_COLUMNS.index("enqueued_at")
_COLUMNS = ", ".join(
    f"json({name})" if name in ("args", "kwargs", "metadata") else name
    for name in CLAIMED_COLUMNS
)


class FileListener(Listener):
    """Notices that another connection has written to the file, whatever it wrote."""

    # To ask takes two microseconds. What costs is to wake up for it.
    interval = 0.003

    def __init__(self, wrapper: Any) -> None:
        self._wrapper = wrapper
        self._version = self._read_version()

    def heard(self) -> frozenset[str] | None:
        before, self._version = self._version, self._read_version()
        return None if self._version == before else frozenset([""])

    def _read_version(self) -> int:
        # Past Django's cursor, which takes ten times as long.
        with self._wrapper.wrap_database_errors:
            cursor = self._wrapper.connection.execute("PRAGMA data_version")
            return int(cursor.fetchone()[0])


class SQLiteEngine(Engine):
    ready_queues_sql = HOP_ALONG_QUEUES
    # To look is no trip.
    longest_look_pause = 0.02

    def listener(self) -> Listener:
        self.connection.ensure_connection()
        return FileListener(self.connection)

    def is_conflict(self, error: Exception) -> bool:
        return "database is locked" in str(error)

    def query_canceller(self) -> Callable[[], None]:
        interrupt: Callable[[], None] = self.connection.connection.interrupt
        return interrupt

    def is_at_rest(self) -> bool:
        return not self.connection.connection.in_transaction

    def prepare(self) -> None:
        super().prepare()
        # Readers and the writer do not block each other in WAL. The mode stays with
        # the file; where it cannot be (a network disk), the old one stays. NORMAL
        # leaves out the wait for the disk at each commit of this connection: after
        # a power cut a job may run again, but none is lost, for the commits of
        # those who enqueue wait as they did.
        with self.connection.cursor() as cursor:
            cursor.execute("PRAGMA journal_mode")
            # To set it again would ask for a lock, and not wait for it.
            if cursor.fetchone() != ("wal",):
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

    def claim(self, want: Want, worker: UUID, now: datetime) -> list[Job]:
        with self.transaction():
            rows = self._select_ready(want)
            self._execute(
                _CLAIM,
                worker.hex,
                worker.hex,
                self._as_text(now),
                json.dumps([row[0] for row in rows]),
            )
        return [self._claimed(row, worker, now) for row in rows]

    def insert(self, jobs: Sequence[Job], call: str | None = None) -> None:
        if len(jobs) == 1:
            super().insert(jobs, call)
            return
        self._insert_one_by_one(jobs)

    def insert_unless_taken(self, jobs: Sequence[Job]) -> None:
        self._insert_one_by_one(jobs, UNLESS_TAKEN)

    def _insert_one_by_one(self, jobs: Sequence[Job], unless: str = "") -> None:
        # As fast as one statement here, and the number of its parameters is limited.
        said = said_columns(jobs)
        sql = f"{self.insert_sql(1, said)} {unless}"
        with self.connection.cursor() as cursor:
            cursor.executemany(sql, [self.row_of(job, said) for job in jobs])

    def finish_successful(
        self, successes: Sequence[Success], worker: UUID, now: datetime
    ) -> list[Job]:
        if not self._can_update_from:
            return super().finish_successful(successes, worker, now)
        done = {
            job.pk.hex: (job.run_token, None if value is None else json.dumps(value))
            for job, value in successes
        }
        recorded = self._execute(
            _FINISH, self._as_text(now), json.dumps(done), worker.hex
        ).rowcount
        if recorded == len(successes):
            return []
        return self.not_recorded([job for job, _ in successes], worker)

    @property
    def _can_update_from(self) -> bool:
        # They came with SQLite 3.33 and 3.35; Django tells only of the latter.
        return bool(self.connection.features.can_return_columns_from_insert)

    def _select_ready(self, want: Want) -> list[list[Any]]:
        # Whatever it is wanted after: here are no dead index entries.
        cursor = self._execute(_SELECT, want.queue, want.limit, want.queue)
        rows: list[list[Any]] = json.loads(cursor.fetchone()[0])
        # No promise is made of the order within an aggregate.
        rows.sort(key=lambda row: (-row[_PRIORITY], row[0]))
        return rows

    def _claimed(self, row: list[Any], worker: UUID, now: datetime) -> Job:
        job = claimed_job(self.alias, row)
        job.id = UUID(row[0])
        job.enqueued_at = self._as_datetime(row[_ENQUEUED_AT])
        # Most jobs have none of these.
        job.run_after = job.run_after and self._as_datetime(job.run_after)
        job.unknown_since = job.unknown_since and self._as_datetime(job.unknown_since)
        job.scheduled_for = job.scheduled_for and self._as_datetime(job.scheduled_for)
        job.expires_at = job.expires_at and self._as_datetime(job.expires_at)
        # They were read before the update.
        job.attempt += 1
        job.run_token += 1
        mark_claimed(job, worker, now)
        return job

    def _as_text(self, moment: datetime) -> str:
        return str(self.connection.ops.adapt_datetimefield_value(moment))

    def _as_datetime(self, text: Any) -> datetime:
        # As Django has written it: ISO 8601 in this time zone; naive without USE_TZ.
        return datetime.fromisoformat(text).replace(tzinfo=self.connection.timezone)

    def _execute(self, statement: str, *params: Any) -> Any:
        sql = statement.format(
            job=self.quote(Job._meta.db_table),
            queue=self.quote(Queue._meta.db_table),
            columns=_COLUMNS,
            key_after_start=KEY_AFTER_START,
            key_after_success=KEY_AFTER_SUCCESS,
        )
        cursor = self.connection.cursor()
        cursor.execute(sql, params)
        return cursor
