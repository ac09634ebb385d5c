"""Connections of threads that run user code: as between two requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import close_old_connections, connections, reset_queries

from django_bgtasks.signals import logger


@contextmanager
def clean_connections() -> Iterator[None]:
    """Run something on connections that are fit for use, and leave them so."""
    close_old_connections()
    try:
        yield
    finally:
        leave_connections_clean()


def leave_connections_clean() -> None:
    """Let nothing of one job's use of this thread's connections reach the next."""
    reset_queries()
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            logger.error(
                "A task left a transaction open on the database %r; rolled back",
                connection.alias,
            )
            # Within atomic(), close() does not let the connection be used again:
            # give the thread another one.
            connection.close()
            del connections[connection.alias]
    close_old_connections()
