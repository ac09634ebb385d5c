"""PostgreSQL: a batch is finished and the next one claimed in one statement."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Any, cast
from uuid import UUID

from django_bgtasks.conf import get_settings
from django_bgtasks.models import Job, Queue
from django_bgtasks.store.engines.base import (
    CLAIMED_COLUMNS,
    HOP_ALONG_QUEUES,
    INSERTED_COLUMNS,
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

# One map of results and ANY(): joining unnest(), the planner may choose to read the
# whole batch again for every row of it. BETWEEN bounds what is read of the index of
# running jobs, which the planner likes best: under an old snapshot, dead entries of all
# that the worker has run since lie in it.
_FINISH = """
    UPDATE {job}
    SET status = 'SUCCESSFUL', finished_at = %(now)s, worker = NULL, result = {result},
        unique_key = {key_after_success}
    WHERE worker = %(worker)s AND id BETWEEN %(first)s AND %(last)s
        AND id = ANY(%(ids)s::uuid[]) AND run_token = %(token)s
    RETURNING 1
"""

# MATERIALIZED is a fence: without it the planner may run the subquery, and so its
# LIMIT and its locks, more than once.
_CLAIM = """
    next AS MATERIALIZED (
        SELECT id FROM {job}
        WHERE status = 'READY' AND queue = %(queue)s {after}
            AND NOT EXISTS (
                SELECT FROM {queue}
                WHERE name = %(queue)s AND paused_at IS NOT NULL)
        ORDER BY priority DESC, id LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED),
    claimed AS (
        UPDATE {job} AS job
        SET status = 'RUNNING', attempt = attempt + 1, run_token = run_token + 1,
            worker = %(worker)s, last_worker = %(worker)s, started_at = %(now)s,
            unique_key = {key_after_start}
        FROM next WHERE job.id = next.id
        RETURNING {columns})
"""

_CLAIM_ONLY = f"WITH {_CLAIM} SELECT * FROM claimed ORDER BY priority DESC, id"  # noqa: S608 (ours)

# Every row tells how many were recorded, and there is one even if nothing is claimed.
_FINISH_AND_CLAIM = f"""
    WITH finished AS ({_FINISH}), {_CLAIM}
    SELECT (SELECT count(*) FROM finished), claimed.*
    FROM (VALUES (1)) AS always LEFT JOIN claimed ON true
    ORDER BY priority DESC, id
"""  # noqa: S608 (both halves are our own)

_RESULT = "%(results)s::jsonb -> id::text"
_AFTER = "AND priority = %(after_priority)s AND id > %(after_id)s"


#: From so many rows on, COPY is faster than INSERT.
_WORTH_COPYING = 20

#: Seconds that the server may take to hear that a query shall be cancelled.
CANCEL_TIMEOUT = 2.0

#: The status of a connection that is in no transaction, in both versions of psycopg.
_IDLE = 0

#: Of LISTEN and NOTIFY: queues that got jobs; jobs for whose end somebody waits; and
#: those of them that have ended.
_CHANNEL = "bgtasks"
_AWAITED = "bgtasks_awaited"
_ENDED = "bgtasks_ended"

#: Ids that one notification holds; there is room for 8,000 characters.
_IDS = 200

# It would wait for the disk when it commits, though it has written nothing.
_NOTIFY_OF_JOBS = """
    SELECT pg_notify(%(channel)s, payload)
    FROM set_config('synchronous_commit', 'off', true),
        unnest(%(payloads)s::text[]) AS payload
"""

#: deadlock_detected, serialization_failure.
_CONFLICTS = {"40P01", "40001"}

#: read_only_sql_transaction: a server that is being failed over.
_READ_ONLY = "25006"


class NotificationListener(Listener):
    """Hears NOTIFY on a psycopg connection.

    Args:
        wrapper: Django's connection.
        channel: what ``heard()`` is about.
    """

    def __init__(self, wrapper: Any, channel: str) -> None:
        self._wrapper = wrapper
        self._pgconn = wrapper.connection.pgconn
        self._names: set[str] = set()
        self._ids: set[str] = set()
        self.fileno = wrapper.connection.fileno()
        # Those that arrive with the answers to queries.
        wrapper.connection.add_notify_handler(
            lambda notify: self._take(notify.channel, notify.payload)
        )
        with wrapper.cursor() as cursor:
            cursor.execute(f"LISTEN {channel}")

    def hear_of_awaited(self) -> NotificationListener:
        """Let there be something to say for ``awaited()``."""
        with self._wrapper.cursor() as cursor:
            cursor.execute(f"LISTEN {_AWAITED}")
        return self

    def heard(self) -> frozenset[str] | None:
        with self._wrapper.wrap_database_errors:
            self._pgconn.consume_input()
        while (notify := self._pgconn.notifies()) is not None:
            self._take(notify.relname.decode(), notify.extra.decode())
        names = frozenset(self._names)
        self._names.clear()
        return names or None

    def awaited(self) -> set[str]:
        # What has arrived: to ask the driver for more would cost each batch a call.
        ids = self._ids
        if ids:
            self._ids = set()
        return ids

    def _take(self, channel: str, payload: str) -> None:
        if channel == _AWAITED:
            self._ids.update(payload.split())
        else:
            self._names.add(payload)


class PostgreSQLEngine(Engine):
    # In seconds, but tcp_user_timeout in milliseconds: how long what was sent may go
    # without an answer from the other host's kernel.
    impatience = {
        "connect_timeout": 10,
        "tcp_user_timeout": 20_000,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 2,
    }

    ready_queues_sql = HOP_ALONG_QUEUES
    quick_pause = 0.005

    def call(self, queue: str) -> None:
        self._execute(f"SELECT pg_notify('{_CHANNEL}', %(queue)s)", {"queue": queue})

    def listener(self) -> Listener:
        if not self.may_listen():
            return Listener()
        return NotificationListener(self.connection, _CHANNEL).hear_of_awaited()

    def end_listener(self) -> Listener:
        if not self.may_listen():
            return Listener()
        return NotificationListener(self.connection, _ENDED)

    def may_listen(self) -> bool:
        wanted = get_settings().listen
        if wanted is None:
            wanted = not self._is_pooled()
        return wanted and self._is_psycopg3

    def call_for_ends(self, jobs: Collection[str]) -> None:
        self._notify_of(jobs, _AWAITED)

    def tell_ended(self, jobs: Collection[str]) -> None:
        self._notify_of(jobs, _ENDED)

    def _notify_of(self, jobs: Collection[str], channel: str) -> None:
        ids = list(jobs)
        payloads = [" ".join(ids[n : n + _IDS]) for n in range(0, len(ids), _IDS)]
        self._execute(_NOTIFY_OF_JOBS, {"channel": channel, "payloads": payloads})

    @property
    def _is_psycopg3(self) -> bool:
        # Not psycopg2, which speaks with the server in other ways.
        driver: Any = self.connection.Database  # type: ignore[attr-defined]  # the stubs lack it
        return bool(driver.__name__ == "psycopg")

    def _is_pooled(self) -> bool:
        """Whether a pooler such as PgBouncer stands between, or somebody says so.

        In transaction mode, LISTEN would be said to a server connection that others
        get next. A pooler makes up the process id that it greets its clients with.
        """
        if self.connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"):
            return True
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            (server,) = cursor.fetchone()
        greeted: int = self.connection.connection.info.backend_pid
        return bool(greeted != server)

    def is_conflict(self, error: Exception) -> bool:
        return _sqlstate(error) in _CONFLICTS

    def is_deadlock(self, error: Exception) -> bool:
        return self.is_conflict(error)

    def is_transient(self, error: Exception) -> bool:
        return super().is_transient(error) or _sqlstate(error) == _READ_ONLY

    def query_canceller(self) -> Callable[[], None]:
        driver: Any = self.connection.connection
        if self._is_psycopg3:
            return partial(driver.cancel_safe, timeout=CANCEL_TIMEOUT)
        cancel: Callable[[], None] = driver.cancel
        return cancel

    def is_at_rest(self) -> bool:
        driver: Any = self.connection.connection
        return bool(driver.autocommit and driver.info.transaction_status == _IDLE)

    def wait_briefly_for_locks(self) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '2s'")

    def now(self) -> datetime:
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            (now,) = cursor.fetchone()
        # Aware or naive as USE_TZ has it: Django's connection sees to that.
        return cast("datetime", now)

    def insert(self, jobs: Sequence[Job], call: str | None = None) -> None:
        if call is not None and len(jobs) == 1:
            self._insert_and_call(jobs[0], call)
        elif len(jobs) >= _WORTH_COPYING and self._is_psycopg3:
            self._copy(jobs)
            if call is not None:
                self.call(call)
        else:
            super().insert(jobs, call)

    def _insert_and_call(self, job: Job, queue: str) -> None:
        sql, params = self.insert_statement([job])
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"WITH new AS ({sql}) SELECT pg_notify('{_CHANNEL}', %s)",
                [*params, queue],
            )

    def insert_unless_taken(self, jobs: Sequence[Job]) -> None:
        self.insert_in_one(jobs, UNLESS_TAKEN)

    def _copy(self, jobs: Sequence[Job]) -> None:
        table = self.quote(Job._meta.db_table)
        said = said_columns(jobs)
        columns = ", ".join([*INSERTED_COLUMNS, *said])
        # Both are what Django does for execute(): it does not know copy().
        self.connection.validate_no_broken_transaction()
        with (
            self.connection.wrap_database_errors,
            self.connection.cursor() as cursor,
            cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy,
        ):
            for job in jobs:
                copy.write_row(self.row_of(job, said))

    def claim(self, want: Want, worker: UUID, now: datetime) -> list[Job]:
        params = {"worker": worker, "now": now, **_claim_params(want)}
        return self._claimed(self._execute(_CLAIM_ONLY, params), worker, now)

    def finish_successful(
        self, successes: Sequence[Success], worker: UUID, now: datetime
    ) -> list[Job]:
        lost: list[Job] = []
        for token, group in _by_token(successes):
            params = {"worker": worker, "now": now, **_finish_params(token, group)}
            if len(self._execute(_FINISH, params)) < len(group):
                lost += self.not_recorded([job for job, _ in group], worker)
        return lost

    def finish_and_claim(
        self,
        successes: Sequence[Success],
        want: Want,
        worker: UUID,
        now: datetime,
    ) -> tuple[list[Job], list[Job]]:
        if not successes:
            return [], self.claim(want, worker, now)
        *few, (token, most) = _by_token(successes)
        lost = self.finish_successful(
            [s for _, group in few for s in group], worker, now
        )
        params = {
            "worker": worker,
            "now": now,
            **_finish_params(token, most),
            **_claim_params(want),
        }
        rows = self._execute(_FINISH_AND_CLAIM, params)
        if rows[0][0] < len(most):
            lost += self.not_recorded([job for job, _ in most], worker)
        if rows[0][1] is None:
            return lost, []
        return lost, self._claimed([row[1:] for row in rows], worker, now)

    def _execute(self, statement: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
        sql = statement.format(
            job=self.quote(Job._meta.db_table),
            queue=self.quote(Queue._meta.db_table),
            columns=", ".join(f"job.{name}" for name in CLAIMED_COLUMNS),
            after=_AFTER if params.get("after_id") else "",
            result=_RESULT if params.get("results") else "NULL",
            key_after_start=KEY_AFTER_START,
            key_after_success=KEY_AFTER_SUCCESS,
        )
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall())

    def _claimed(
        self, rows: Sequence[tuple[Any, ...]], worker: UUID, now: datetime
    ) -> list[Job]:
        jobs = claimed_jobs(self.alias, rows, worker, now)
        for job in jobs:
            # JSON comes as text here.
            job.args = _loads(job.args)
            job.kwargs = _loads(job.kwargs)
            job.metadata = job.metadata and json.loads(job.metadata)
        return jobs


def _claim_params(want: Want) -> dict[str, Any]:
    priority, job_id = want.after or (None, None)
    return {
        "queue": want.queue,
        "limit": want.limit,
        "after_priority": priority,
        "after_id": job_id,
    }


def _by_token(successes: Sequence[Success]) -> list[tuple[int, list[Success]]]:
    """Successes by run token, the largest group last; almost always there is one."""
    groups: defaultdict[int, list[Success]] = defaultdict(list)
    for success in successes:
        groups[success[0].run_token].append(success)
    return sorted(groups.items(), key=lambda item: len(item[1]))


def _finish_params(token: int, successes: Sequence[Success]) -> dict[str, Any]:
    # A missing key reads as NULL, which is how None is stored.
    results = {str(job.id): value for job, value in successes if value is not None}
    ids = [job.id.hex for job, _ in successes]
    return {
        "token": token,
        # As text: an array of UUIDs would be put together one by one in Python.
        "ids": "{" + ",".join(ids) + "}",
        "first": min(ids),
        "last": max(ids),
        "results": json.dumps(results) if results else None,
    }


def _loads(text: str) -> Any:
    # Most jobs have one of the two empty.
    return json.loads(text) if len(text) > len("[]") else [] if text == "[]" else {}


def _sqlstate(error: Exception) -> str | None:
    return getattr(error.__cause__, "sqlstate", None)
