"""Workers and the scheduler as processes: signals in, exit code out."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any, NoReturn
from uuid import UUID

from django_bgtasks.signals import logger
from django_bgtasks.worker import streams
from django_bgtasks.worker.board import Board
from django_bgtasks.worker.child import ENDS_FOR_GOOD, MAKES_ROOM, SIGNALS, STAYS_QUIET
from django_bgtasks.worker.interpreter import tune_interpreter
from django_bgtasks.worker.options import WorkerOptions
from django_bgtasks.worker.reloader import Reloader
from django_bgtasks.worker.scheduler import Scheduler
from django_bgtasks.worker.supervisor import Supervisor
from django_bgtasks.worker.worker import Worker

#: Seconds between two looks whether the parent is still there.
PARENT_CHECK_INTERVAL = 1.0

STOP_SIGNALS = [signal.SIGINT, signal.SIGTERM]
if sys.platform == "win32":
    # Ctrl-Break: all that another process can send to one in a group of its own.
    STOP_SIGNALS.append(signal.SIGBREAK)

#: Seconds that a process gets to end when its worker has.
EXIT_GRACE = 3.0


def run_workers(
    options: WorkerOptions, *, processes: int = 1, reload: bool = False
) -> None:
    """Run workers until they end or are stopped.

    The first SIGTERM or Ctrl-C lets running jobs end, within the shutdown grace.
    The second ends everything at once, with exit code 128 + the signal's number.

    Args:
        processes: how many worker processes, with a supervisor; 0 for one worker in
            this process and without.
        reload: start the process anew whenever the project's code changes.

    Raises:
        SystemExit: with code 1, if a worker has failed.
    """
    runner: Worker | Supervisor
    if processes:
        runner = Supervisor(options, processes, fork=not reload)
    else:
        tune_interpreter()
        runner = Worker(options)
    reloader = Reloader(on_change=runner.stop) if reload else None
    with streams.kept_open(), _stopped_by_signals(runner) as received:
        if reloader is not None:
            reloader.start()
        runner.run()
    if runner.has_abandoned_jobs:
        _leave_abandoned_jobs(_exit_code(runner))
    if reloader is not None and reloader.code_has_changed and not received:
        streams.flush()
        reloader.restart_process()
    if _exit_code(runner):
        sys.exit(_exit_code(runner))


def run_scheduler(*, once: bool = False) -> None:
    """Enqueue periodic jobs when they are due, until stopped by SIGTERM or Ctrl-C.

    Args:
        once: end when what is due now is enqueued.
    """
    scheduler = Scheduler(once=once)
    with streams.kept_open(), _stopped_by_signals(scheduler):
        scheduler.run()


def _exit_code(runner: Worker | Supervisor) -> int:
    if isinstance(runner, Supervisor):
        return runner.exit_code
    # Whoever has started the command may start it again.
    return int(runner.was_taken_for_dead)


def run_as_child(
    options: WorkerOptions, worker_id: UUID, memory: Any, orders: Connection
) -> None:
    """Run a worker that a supervisor has started.

    Raises:
        SystemExit: with the code that tells the supervisor what to do next.
    """
    # Ctrl-C in a terminal reaches all processes, and the parent passes it on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker = Worker(options, worker_id=worker_id, board=Board(memory))
    with streams.kept_open(), _stopped_by_signals(worker, [signal.SIGTERM]):
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        threading.Thread(target=_obey, args=(worker, orders), daemon=True).start()
        worker.run()
    exit_code = MAKES_ROOM if worker.makes_room else 0
    if worker.is_quiet:
        exit_code = STAYS_QUIET
    if worker.ends_for_good:
        exit_code = ENDS_FOR_GOOD
    if worker.has_abandoned_jobs:
        _leave_abandoned_jobs(exit_code)
    streams.flush()
    _end_in_spite_of_threads(exit_code)
    sys.exit(exit_code)


def _obey(worker: Worker, orders: Connection) -> None:
    """Stop ``worker`` when the parent says so, or is gone.

    A pipe, not a signal, for on Windows there is none to send.
    """
    parent = multiprocessing.parent_process()
    waited_for: list[Any] = [orders]
    if parent is not None:
        waited_for.append(parent.sentinel)
    # The sentinel is late where brothers were forked with a copy of its other end.
    number = os.getppid()
    while not wait(waited_for, PARENT_CHECK_INTERVAL) and os.getppid() == number:
        pass
    worker.stop()


def _leave_abandoned_jobs(exit_code: int) -> NoReturn:
    # Python would wait for some of their threads, while other workers run them.
    streams.flush()
    os._exit(exit_code)


def _end_in_spite_of_threads(exit_code: int) -> None:
    """Let the process end, even if tasks have left threads that Python waits for."""

    def end() -> None:
        threading.Event().wait(EXIT_GRACE)
        left = [thread.name for thread in threading.enumerate() if not thread.daemon]
        logger.warning("The process ends though there are threads: %s", ", ".join(left))
        streams.flush()
        os._exit(exit_code)

    threading.Thread(target=end, daemon=True).start()


@contextmanager
def _stopped_by_signals(
    runner: Worker | Supervisor | Scheduler, numbers: Sequence[int] = STOP_SIGNALS
) -> Iterator[list[int]]:
    """Stop ``runner`` by signals; what has been received is in the list."""
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            runner.stop_at_once()
            os._exit(128 + number)
        runner.stop()

    previous = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
