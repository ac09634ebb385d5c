"""A worker as a process: signals in, exit code out."""

from __future__ import annotations

import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from django_bgtasks.worker.child import SIGNALS
from django_bgtasks.worker.interpreter import tune_interpreter
from django_bgtasks.worker.options import WorkerOptions
from django_bgtasks.worker.reloader import Reloader
from django_bgtasks.worker.supervisor import Supervisor
from django_bgtasks.worker.worker import Worker

STOP_SIGNALS = [signal.SIGINT, signal.SIGTERM]
if sys.platform == "win32":
    # Ctrl-Break: all that another process can send to one in a group of its own.
    STOP_SIGNALS.append(signal.SIGBREAK)


def run_worker(
    options: WorkerOptions, *, processes: int = 1, reload: bool = False
) -> None:
    """Run workers in the main thread, until they end or are stopped.

    The first SIGTERM or Ctrl-C lets running jobs end, within the shutdown grace.
    The second ends everything at once, with exit code 128 + the signal's number.

    Args:
        processes: how many workers; more than one become child processes.
        reload: start the process anew whenever the project's code changes.
    """
    runner: Worker | Supervisor
    if processes == 1:
        tune_interpreter()
        runner = Worker(options)
    else:
        runner = Supervisor(options, processes, fork=not reload)
    reloader = Reloader(on_change=runner.stop) if reload else None
    with _stopped_by_signals(runner) as received:
        if reloader is not None:
            reloader.start()
        runner.run()
    _leave_abandoned_jobs(runner)
    if reloader is not None and reloader.code_has_changed and not received:
        _flush_output()
        reloader.restart_process()
    if runner.exit_code:
        sys.exit(runner.exit_code)


def run_as_child(options: WorkerOptions) -> None:
    """Run a worker that a supervisor has started."""
    # Ctrl-C in a terminal reaches all processes, and the parent passes it on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker = Worker(options)
    with _stopped_by_signals(worker, [signal.SIGTERM]):
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        threading.Thread(
            target=_stop_without_parent, args=(worker,), daemon=True
        ).start()
        worker.run()
    _leave_abandoned_jobs(worker)


def _stop_without_parent(worker: Worker) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        worker.stop()


def _leave_abandoned_jobs(runner: Worker | Supervisor) -> None:
    if runner.has_abandoned_jobs:
        # Python would wait for some of their threads, while other workers run them.
        _flush_output()
        os._exit(0)


def _flush_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


@contextmanager
def _stopped_by_signals(
    runner: Worker | Supervisor, numbers: Sequence[int] = STOP_SIGNALS
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
