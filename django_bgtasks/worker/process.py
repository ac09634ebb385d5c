"""A worker as a process: signals in, exit code out."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from django_bgtasks.worker.reloader import Reloader
from django_bgtasks.worker.worker import Worker, WorkerOptions

STOP_SIGNALS = [signal.SIGINT, signal.SIGTERM]
if sys.platform == "win32":
    # Ctrl-Break: all that another process can send to one in a group of its own.
    STOP_SIGNALS.append(signal.SIGBREAK)


def run_worker(options: WorkerOptions, *, reload: bool = False) -> None:
    """Run a worker in the main thread, until it ends or is stopped.

    The first SIGTERM or Ctrl-C lets running jobs end, within the shutdown grace.
    The second ends the process at once, with exit code 128 + the signal's number.

    Args:
        reload: start the process anew whenever the project's code changes.
    """
    worker = Worker(options)
    reloader = Reloader(on_change=worker.stop) if reload else None
    with _stopped_by_signals(worker) as received:
        if reloader is not None:
            reloader.start()
        worker.run()
    if worker.has_abandoned_jobs:
        # Python would wait for some of their threads, while other workers run them.
        _flush_output()
        os._exit(0)
    if reloader is not None and reloader.code_has_changed and not received:
        _flush_output()
        reloader.restart_process()


def _flush_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


@contextmanager
def _stopped_by_signals(worker: Worker) -> Iterator[list[int]]:
    """Stop ``worker`` by signals; what has been received is in the list."""
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            os._exit(128 + number)
        worker.stop()

    previous = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
