"""MySQL and MariaDB: the portable claim, with their locks' habits minded."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.utils import timezone

from django_bgtasks.store.engines.base import Engine

#: Deadlock, lock wait timeout, and MariaDB's "record has changed since last read".
_CONFLICTS = {1213, 1205, 1020}


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

    def prepare(self) -> None:
        super().prepare()
        # Under REPEATABLE READ a claim would lock the gaps that enqueues write to.
        with self.connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")

    def now(self) -> datetime:
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT UTC_TIMESTAMP(6)")
            (naive,) = cursor.fetchone()
        now = naive.replace(tzinfo=UTC)
        return now if settings.USE_TZ else timezone.make_naive(now)
