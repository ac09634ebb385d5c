"""Several workers, one process each."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from django.db import connections

from django_bgtasks.signals import logger
from django_bgtasks.worker import child
from django_bgtasks.worker.bell import Bell
from django_bgtasks.worker.interpreter import tune_interpreter
from django_bgtasks.worker.options import WorkerOptions

#: Seconds until a worker that died is replaced, doubled each time that it dies soon.
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
#: A worker that lives for so many seconds has not died soon.
SOON = 60.0


@dataclass
class _Seat:
    """One of the workers, whichever process it is at the time."""

    options: WorkerOptions
    process: BaseProcess | None = None
    started_at: float = 0.0
    pause: float = FIRST_PAUSE
    start_at: float = 0.0


class Supervisor:
    """Starts workers as child processes, and replaces those that die.

    On Linux they are forked, and so share the memory of the project's code.

    Args:
        options: for each worker; ``max_jobs`` is shared out among them.
        processes: how many.
        fork: whether they may be forked; not with other threads in this process.
    """

    #: This process runs no tasks itself.
    has_abandoned_jobs = False
    #: 1 if a worker that was to end by itself has failed.
    exit_code = 0

    def __init__(
        self, options: WorkerOptions, processes: int, *, fork: bool = True
    ) -> None:
        self._context = multiprocessing.get_context(
            "fork" if fork and sys.platform == "linux" else "spawn"
        )
        self._seats = [_Seat(share) for share in _shared_out(options, processes)]
        self._bell = Bell()
        self._stopping = False

    def run(self) -> None:
        """Keep the workers running until they are done or told to stop."""
        _prepare_to_fork()
        try:
            while self._seats and not self._stopping:
                self._start_missing()
                self._wait()
                self._bury_dead()
        finally:
            self._end_children()
            self._bell.close()

    def stop(self) -> None:
        """Let the workers stop as by SIGTERM, then end. Safe in signal handlers."""
        self._stopping = True
        self._bell.ring()

    def stop_at_once(self) -> None:
        """A second request to stop: the workers end without their grace."""
        for process in self._processes:
            process.kill()

    @property
    def _processes(self) -> list[BaseProcess]:
        return [seat.process for seat in self._seats if seat.process is not None]

    def _start_missing(self) -> None:
        for seat in self._seats:
            if seat.process is None and time.monotonic() >= seat.start_at:
                seat.started_at = time.monotonic()
                seat.process = self._context.Process(  # type: ignore[attr-defined]  # all contexts have it
                    target=child.main, args=(seat.options,), name="bgtasks-worker"
                )
                with _no_signals():
                    seat.process.start()

    def _wait(self) -> None:
        """Until a worker dies, a missing one may be started, or somebody calls."""
        missing = [seat.start_at for seat in self._seats if seat.process is None]
        pause = min(missing) - time.monotonic() if missing else None
        sentinels = [process.sentinel for process in self._processes]
        wait([self._bell.reader, *sentinels], pause and max(pause, 0))

    def _bury_dead(self) -> None:
        for seat in list(self._seats):
            if seat.process is None or seat.process.is_alive():
                continue
            status = seat.process.exitcode
            seat.process = None
            if seat.options.ends_by_itself:
                # Whoever waits for the end is to see a failure, not another try.
                self._seats.remove(seat)
                self.exit_code = self.exit_code or int(status != 0)
            elif not self._stopping:
                self._plan_replacement(seat, status)

    def _plan_replacement(self, seat: _Seat, status: int | None) -> None:
        lived = time.monotonic() - seat.started_at
        seat.pause = FIRST_PAUSE if lived > SOON else seat.pause
        logger.error(
            "A worker process ended with exit code %s; another one starts in %.1f s",
            status,
            seat.pause,
        )
        seat.start_at = time.monotonic() + seat.pause
        seat.pause = min(seat.pause * 2, LONGEST_PAUSE)

    def _end_children(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()


@contextmanager
def _no_signals() -> Iterator[None]:
    """Hold signals back: a child is born with this process's handlers for them.

    It lets them in when it has its own.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, child.SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare_to_fork() -> None:
    """Leave nothing open that two processes must not share."""
    for connection in connections.all(initialized_only=True):
        connection.close()
        if hasattr(connection, "close_pool"):
            connection.close_pool()
    tune_interpreter()


def _shared_out(options: WorkerOptions, processes: int) -> Sequence[WorkerOptions]:
    if options.max_jobs is None:
        return [options] * processes
    each, rest = divmod(options.max_jobs, processes)
    shares = [each + (n < rest) for n in range(processes)]
    return [replace(options, max_jobs=share) for share in shares if share]
