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
    claimed_jobs,
    said_columns,
)
from django_bgtasks.store.engines.file_watch import CannotWatch, FileWatch

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
    SELECT json_group_array(json_array({columns})), json_group_array(id) FROM (
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
#: Most jobs have none of these.
_RARE_MOMENTS = [
    CLAIMED_COLUMNS.index(name)
    for name in ("run_after", "unknown_since", "scheduled_for", "expires_at")
]
#: How each column is read: before the update that claims, as it will be after it.
_READ = {
    "args": "json(args)",
    "kwargs": "json(kwargs)",
    "metadata": "json(metadata)",
    "attempt": "attempt + 1",
    "run_token": "run_token + 1",
}
_COLUMNS = ", ".join(_READ.get(name, name) for name in CLAIMED_COLUMNS)


#: Seconds between two looks at whether the file has changed: just after somebody has
#: written, and at the most. A look takes microseconds; what costs is to wake up for it,
#: and where the kernel tells of writes, that is seldom needed.
SHORTEST_LOOK = 0.001
LONGEST_LOOK = 0.005
LONGEST_LOOK_IF_TOLD = 0.05


class FileListener(Listener):
    """Notices that another connection has written to the file, whatever it wrote.

    Args:
        wrapper: Django's connection.
    """

    interval: float

    def __init__(self, wrapper: Any) -> None:
        self._wrapper = wrapper
        self._version = self._pragma("data_version")
        self._watch = self._watch_log()
        self._longest = LONGEST_LOOK
        if self._watch is not None:
            self._longest = LONGEST_LOOK_IF_TOLD
            self.fileno = self._watch.fileno
        self.interval = self._longest

    def heard(self) -> frozenset[str] | None:
        is_written = self._watch is not None and self._watch.has_news()
        before, self._version = self._version, self._pragma("data_version")
        is_changed = self._version != before
        if is_written or is_changed:
            # What is written can be seen when it has reached the disk, of which nobody
            # tells.
            self.interval = SHORTEST_LOOK
        else:
            self.interval = min(2 * self.interval, self._longest)
        return frozenset([""]) if is_changed else None

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _watch_log(self) -> FileWatch | None:
        """A watch over the log, if there is one: who commits has written to it."""
        path = self._pragma("database_list", column=2)
        try:
            return FileWatch(f"{path}-wal")
        except CannotWatch:
            return None

    def _pragma(self, name: str, column: int = 0) -> Any:
        # Past Django's cursor, which takes ten times as long.
        with self._wrapper.wrap_database_errors:
            cursor = self._wrapper.connection.execute(f"PRAGMA {name}")
            return cursor.fetchone()[column]


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
            rows = self._claim_rows(want, worker, now)
        return self._claimed(rows, worker, now)

    def finish_and_claim(
        self,
        successes: Sequence[Success],
        want: Want,
        worker: UUID,
        now: datetime,
    ) -> tuple[list[Job], list[Job]]:
        with self.transaction():
            lost = self.finish_successful(successes, worker, now)
            rows = self._claim_rows(want, worker, now)
        # After the commit, for others wait for it to write.
        return lost, self._claimed(rows, worker, now)

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
        rows = [self.row_of(job, said) for job in jobs]
        sql = f"{self.insert_sql([['%s'] * len(rows[0])], said)} {unless}"
        with self.connection.cursor() as cursor:
            cursor.executemany(sql, rows)

    def finish_successful(
        self, successes: Sequence[Success], worker: UUID, now: datetime
    ) -> list[Job]:
        if not self._can_update_from:
            return super().finish_successful(successes, worker, now)
        done = {
            job.id.hex: (job.run_token, None if value is None else json.dumps(value))
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

    def _claim_rows(self, want: Want, worker: UUID, now: datetime) -> str:
        """Claim jobs; their claimed columns as JSON."""
        # Whatever it is wanted after: here are no dead index entries.
        cursor = self._execute(_SELECT, want.queue, want.limit, want.queue)
        rows, ids = cursor.fetchone()
        self._execute(_CLAIM, worker.hex, worker.hex, self._as_text(now), ids)
        return str(rows)

    def _claimed(self, claimed: str, worker: UUID, now: datetime) -> list[Job]:
        rows: list[list[Any]] = json.loads(claimed)
        # No promise is made of the order within an aggregate.
        rows.sort(key=lambda row: (-row[_PRIORITY], row[0]))
        for row in rows:
            row[0] = UUID(row[0])
            row[_ENQUEUED_AT] = self._as_datetime(row[_ENQUEUED_AT])
            for column in _RARE_MOMENTS:
                if row[column] is not None:
                    row[column] = self._as_datetime(row[column])
        return claimed_jobs(self.alias, rows, worker, now)

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
