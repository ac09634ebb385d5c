"""Connections of threads that run user code: as between two requests."""

from __future__ import annotations

from django.db import connections

from django_bgtasks.signals import logger


def leave_connections_clean() -> None:
    """Let nothing of one job's use of this thread's connections reach the next."""
    for connection in connections.all(initialized_only=True):
        connection.queries_log.clear()
        if connection.in_atomic_block:
            logger.error(
                "A task left a transaction open on the database %r; rolled back",
                connection.alias,
            )
            # Within atomic(), close() does not let the connection be used again:
            # give the thread another one.
            connection.close()
            del connections[connection.alias]
        else:
            connection.close_if_unusable_or_obsolete()
