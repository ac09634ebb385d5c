"""Waiting for the end of a job: looking, and being called where the database can.

Looks come in quick succession at first, for most who wait do so for short jobs. Then,
where workers can call, a watch is joined; elsewhere the pauses grow.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db.backends.base.base import BaseDatabaseWrapper

from django_bgtasks.exceptions import WaitInTransaction
from django_bgtasks.models import Job
from django_bgtasks.store.callers import is_in_transaction, transaction_elsewhere
from django_bgtasks.store.engines import Engine, get_engine
from django_bgtasks.store.watching import Wake, Watch, join, pause_after

#: Seconds before a watch is joined: to open its connection takes a good part of that.
QUICK = 0.03

#: Seconds from the first look to the second.
FIRST_PAUSE = 0.001

#: Seconds between looks of who has joined a watch, which itself looks more often.
WATCHED_PAUSE = 5.0


def wait_for_end(job_id: UUID, deadline: float | None) -> bool:
    """Wait until a job has ended, or is no more.

    Args:
        deadline: when to give up, by ``time.monotonic()``; None: never.

    Returns:
        False if the time is over.

    Raises:
        WaitInTransaction: a transaction is open, and the job has not ended.
    """
    woken = threading.Event()
    wait = Wait(job_id, deadline, woken.set)
    try:
        while wait.goes_on():
            woken.wait(wait.pause)
            woken.clear()
    finally:
        wait.close()
        wait.wait_until_closed()
    return wait.has_ended


async def await_end(job_id: UUID, deadline: float | None) -> bool:
    """``wait_for_end`` for async code: it holds no thread between two looks."""
    loop, woken = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop was closed, and nobody waits any more
            loop.call_soon_threadsafe(woken.set)

    wait = Wait(job_id, deadline, wake)
    try:
        while await sync_to_async(wait.goes_on)():
            with suppress(TimeoutError):
                async with asyncio.timeout(wait.pause):
                    await woken.wait()
            woken.clear()
    finally:
        wait.close()
    return wait.has_ended


class Wait:
    """One wait for one job: whether it goes on, and when to look again.

    Args:
        job_id: of the job.
        deadline: when to give up, by ``monotonic``; None: never.
        wake: called in another thread when it is time to look before the pause is over.
        monotonic: the clock.
    """

    def __init__(
        self,
        job_id: UUID,
        deadline: float | None,
        wake: Wake,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.has_ended = False
        self._job_id = job_id.hex
        self._deadline = deadline
        self._wake = wake
        self._monotonic = monotonic
        self._began_at = monotonic()
        self._longest_pause = FIRST_PAUSE
        self._watch: Watch | None = None
        self._has_tried_to_join = False
        self._is_closed = False
        # A look may still be under way in its thread when its event loop gives up.
        self._lock = threading.Lock()

    def goes_on(self) -> bool:
        """Look whether there is something, and time, to wait for.

        Raises:
            WaitInTransaction: there is, but in vain.
        """
        engine = get_engine()
        self.has_ended = not engine.unfinished([self._job_id])
        if self.has_ended and self._may_await_commit(engine):
            raise WaitInTransaction(UUID(self._job_id))
        if self.has_ended or self._rest <= 0:
            return False
        if _is_in_transaction(engine.connection):
            raise WaitInTransaction(UUID(self._job_id))
        self._longest_pause = engine.longest_look_pause
        if self._waited >= QUICK and not self._has_tried_to_join:
            self._has_tried_to_join = True
            # Within a test's transaction, others do not see the job.
            if not engine.connection.in_atomic_block and engine.may_listen():
                self._join(engine.alias)
        return True

    def _may_await_commit(self, engine: Engine) -> bool:
        """Whether there is no row yet, rather than no more."""
        if transaction_elsewhere(engine.connection) is None:
            return False
        return not Job.objects.using(engine.alias).filter(pk=self._job_id).exists()

    @property
    def pause(self) -> float:
        """Seconds until the next look."""
        if self._watch is not None and not self._watch.is_over:
            pause = WATCHED_PAUSE
        else:
            pause = pause_after(self._waited, FIRST_PAUSE, self._longest_pause)
        return max(min(pause, self._rest), 0)

    def close(self) -> None:
        """Leave nothing behind; a connection may take a moment to be closed."""
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
            if self._watch is not None and not was_closed:
                self._watch.leave(self._job_id, self._wake)

    def wait_until_closed(self) -> None:
        """Take that moment."""
        if self._watch is not None:
            self._watch.wait_until_closed()

    def _join(self, alias: str) -> None:
        with self._lock:
            if not self._is_closed:
                self._watch = join(alias, self._job_id, self._wake)

    @property
    def _waited(self) -> float:
        return self._monotonic() - self._began_at

    @property
    def _rest(self) -> float:
        if self._deadline is None:
            return threading.TIMEOUT_MAX
        return self._deadline - self._monotonic()


def _is_in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Whether the caller has one open, by ``atomic()`` or by hand."""
    if connection.in_atomic_block:
        return is_in_transaction(connection)
    return not connection.get_autocommit()
