"""Connections of threads that run user code: as between two requests."""

from __future__ import annotations

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_bgtasks.signals import logger
from django_bgtasks.store.engines import engine_of


def leave_connections_clean() -> None:
    """Let nothing of one job's use of this thread's connections reach the next."""
    for connection in connections.all(initialized_only=True):
        connection.queries_log.clear()
        try:
            if _is_at_rest(connection):
                connection.close_if_unusable_or_obsolete()
                continue
            logger.error(
                "A task left a transaction open on the database %r, or closed its "
                "connection past Django; what was not committed is rolled back",
                connection.alias,
            )
            connection.close()
        except Exception:  # noqa: BLE001 (a driver's, too; the next job is to have a good one)
            logger.exception(
                "The connection that a task left to the database %r is of no more use",
                connection.alias,
            )
        # Give the thread another one: within atomic(), close() does not let this one
        # be used again.
        del connections[connection.alias]


def _is_at_rest(connection: BaseDatabaseWrapper) -> bool:
    if connection.in_atomic_block:
        return False
    return connection.connection is None or engine_of(connection).is_at_rest()
