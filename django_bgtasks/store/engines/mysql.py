"""MySQL and MariaDB: the portable claim, with their locks' habits minded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.utils import timezone

from django_bgtasks.models import Job
from django_bgtasks.store.engines.base import Engine

#: Deadlock, and MariaDB's "record has changed since last read".
_DEADLOCKS = {1213, 1020}
#: Besides: lock wait timeout.
_CONFLICTS = {*_DEADLOCKS, 1205}


#: A statement longer than max_allowed_packet: the same one will not be any shorter.
_TOO_LARGE = 1153


class MySQLEngine(Engine):
    ignores_case = True
    # In seconds; the last two longer than a wait for a lock may be.
    impatience = {"connect_timeout": 10, "read_timeout": 60, "write_timeout": 60}

    def is_transient(self, error: Exception) -> bool:
        return super().is_transient(error) and error.args[:1] != (_TOO_LARGE,)

    def is_conflict(self, error: Exception) -> bool:
        return bool(error.args) and error.args[0] in _CONFLICTS

    def is_deadlock(self, error: Exception) -> bool:
        return bool(error.args) and error.args[0] in _DEADLOCKS

    def query_canceller(self) -> Callable[[], None]:
        number: int = self.connection.connection.thread_id()

        def cancel() -> None:
            # That one is busy: it takes another connection to say so.
            other = self.connection.copy()
            try:
                with other.cursor() as cursor:
                    cursor.execute("KILL QUERY %s", [number])
            finally:
                other.close()

        return cancel

    def is_at_rest(self) -> bool:
        # Of BEGIN, the driver does not tell.
        driver: Any = self.connection.connection
        return bool(driver.open and driver.get_autocommit())

    def wait_briefly_for_locks(self) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute("SET SESSION innodb_lock_wait_timeout = 2")

    @property
    def reads_old_rows(self) -> bool:
        return self._isolation != "read committed"

    @property
    def _isolation(self) -> str | None:
        # Django sets it when it connects: that one, if the project wants no other.
        connection: Any = self.connection
        connection.ensure_connection()
        level: str | None = connection.isolation_level
        return level

    def insert_unless_taken(self, jobs: Sequence[Job]) -> None:
        # A duplicate key locks the gap before it, and with that gap the place of every
        # job without a key: nobody could enqueue before the caller's commit. So first
        # those are left out whose key is seen to be taken.
        if not self.reads_old_rows:
            taken = self._taken_keys(jobs)
            jobs = [job for job in jobs if job.unique_key not in taken]
        if jobs:
            # Not INSERT IGNORE, which bends what does not fit its column.
            self.insert_in_one(jobs, "ON DUPLICATE KEY UPDATE id = id")

    def _taken_keys(self, jobs: Sequence[Job]) -> set[str | None]:
        rows = Job.objects.using(self.alias)
        keys = [job.unique_key for job in jobs]
        return set(
            rows.filter(unique_key__in=keys).values_list("unique_key", flat=True)
        )

    def prepare(self) -> None:
        super().prepare()
        # Under REPEATABLE READ a claim would lock the gaps that enqueues write to.
        with self.connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            # The default of 50 seconds is longer than a worker may be silent.
            cursor.execute("SET SESSION innodb_lock_wait_timeout = 10")

    def now(self) -> datetime:
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT UTC_TIMESTAMP(6)")
            (naive,) = cursor.fetchone()
        now = naive.replace(tzinfo=UTC)
        return now if settings.USE_TZ else timezone.make_naive(now)
