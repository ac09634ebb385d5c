"""What differs between databases, one module each."""

from __future__ import annotations

from django.db import connections, router

from django_bgtasks.models import Job
from django_bgtasks.store.engines.base import Engine
from django_bgtasks.store.engines.mysql import MySQLEngine
from django_bgtasks.store.engines.postgresql import PostgreSQLEngine
from django_bgtasks.store.engines.sqlite import SQLiteEngine

_ENGINES: dict[str, type[Engine]] = {
    "postgresql": PostgreSQLEngine,
    "sqlite": SQLiteEngine,
    "mysql": MySQLEngine,
}


def get_engine() -> Engine:
    """The engine of the database that holds the jobs, on this thread's connection."""
    connection = connections[router.db_for_write(Job)]
    return _ENGINES.get(connection.vendor, Engine)(connection)


__all__ = ["Engine", "get_engine"]
