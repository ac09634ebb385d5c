"""A worker in a process that the supervisor has started."""

from __future__ import annotations

import signal
from multiprocessing.connection import Connection
from typing import Any
from uuid import UUID

from django_bgtasks.worker.options import WorkerOptions

#: Those that the supervisor holds back until a worker has its own handlers.
SIGNALS = (signal.SIGINT, signal.SIGTERM)

#: The exit code of a worker in whose place another one shall start at once. 0 says that
#: it is done, everything else that it failed.
MAKES_ROOM = 75
#: The exit code of a worker in whose place no other one shall start.
ENDS_FOR_GOOD = 76
#: The exit code of a quiet worker: another one shall start at once, and begin quiet.
STAYS_QUIET = 77


def main(options: WorkerOptions, worker: UUID, memory: Any, orders: Connection) -> None:
    """Run a worker until it ends, is told to stop, or its parent is gone.

    Args:
        options: what it shall do.
        worker: its id.
        memory: of its board, shared with the parent.
        orders: becomes readable when the parent wants it to stop.
    """
    import django  # noqa: PLC0415 (see below)
    from django.apps import apps  # noqa: PLC0415 (see below)

    # A child that was not forked begins here, before there are any models.
    was_forked = apps.ready
    if not was_forked:
        django.setup()
    from django_bgtasks.worker.interpreter import tune_interpreter  # noqa: PLC0415 (now there are)
    from django_bgtasks.worker.process import run_as_child  # noqa: PLC0415 (now there are)

    if not was_forked:
        tune_interpreter()
    run_as_child(options, worker, memory, orders)
