"""Telling idle workers that there is work, once it is committed.

Only to be quicker: a worker that hears nothing looks for itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from django.db import transaction

from django_bgtasks.store.engines import get_engine

#: Seconds in which this process calls for a queue once. A call costs a trip to the
#: database, and PostgreSQL lets those who commit one wait for each other. Workers look
#: around for that long after each call.
INTERVAL = 0.05

#: Queues whose calls are remembered.
_MOST = 1000

_called_at: dict[tuple[str, str], float] = {}
_local: set[Callable[[], None]] = set()


def call(queue: str = "") -> None:
    """Wake the workers of ``queue`` when the current transaction commits.

    Args:
        queue: its name; empty for any.
    """
    connection = get_engine().connection
    if not (connection.in_atomic_block or connection.get_autocommit()):
        # Django does not see the commits of those who manage theirs themselves.
        return
    alias = connection.alias
    # Robust: what was committed is no failure, even if nobody can be told of it.
    transaction.on_commit(partial(_call, alias, queue), using=alias, robust=True)


def listen_here(callback: Callable[[], None]) -> None:
    """Call ``callback`` when this process itself has committed new work."""
    _local.add(callback)


def stop_listening(callback: Callable[[], None]) -> None:
    """Undo ``listen_here``."""
    _local.discard(callback)


def _call(alias: str, queue: str) -> None:
    for callback in tuple(_local):
        callback()
    now = time.monotonic()
    if now - _called_at.get((alias, queue), -INTERVAL) < INTERVAL:
        return
    if len(_called_at) > _MOST:
        _called_at.clear()
    _called_at[alias, queue] = now
    get_engine().call(queue)
