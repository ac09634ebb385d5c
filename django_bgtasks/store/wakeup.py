"""Telling idle workers that there is work, once it is committed.

Only to be quicker: a worker that hears nothing looks for itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from django.db import transaction

from django_bgtasks.models import Job
from django_bgtasks.store.engines import Engine, get_engine

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
    engine = get_engine()
    if commits_at_once(engine) or engine.connection.in_atomic_block:
        alias = engine.alias

        # A function, no partial: Django 5.2 wants its name for the log.
        def call_now() -> None:
            _call(alias, queue)

        # Robust: what was committed is no failure, even if nobody can be told of it.
        transaction.on_commit(call_now, using=alias, robust=True)
    # else Django does not see the commits: somebody manages them himself.


def insert_and_call(engine: Engine, job: Job) -> None:
    """Write one job that is READY, in a transaction of its own, and wake workers.

    Spares the trip of a call, where that can travel with the INSERT: nobody else's
    work is part of the transaction, so nobody waits for others who call.
    """
    is_time = _is_time(engine.alias, job.queue)
    engine.insert([job], call=job.queue if is_time else None)
    _tell_this_process()


def commits_at_once(engine: Engine) -> bool:
    """Whether a statement is a transaction of its own now."""
    connection = engine.connection
    return not connection.in_atomic_block and connection.get_autocommit()


def listen_here(callback: Callable[[], None]) -> None:
    """Call ``callback`` when this process itself has committed new work."""
    _local.add(callback)


def stop_listening(callback: Callable[[], None]) -> None:
    """Undo ``listen_here``."""
    _local.discard(callback)


def _call(alias: str, queue: str) -> None:
    _tell_this_process()
    if _is_time(alias, queue):
        get_engine().call(queue)


def _tell_this_process() -> None:
    for callback in tuple(_local):
        callback()


def _is_time(alias: str, queue: str) -> bool:
    """Whether this process has not called for the queue just now; now it has."""
    now = time.monotonic()
    if now - _called_at.get((alias, queue), -INTERVAL) < INTERVAL:
        return False
    if len(_called_at) > _MOST:
        _called_at.clear()
    _called_at[alias, queue] = now
    return True
