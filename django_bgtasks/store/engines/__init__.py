"""What differs between databases, one module each."""

from __future__ import annotations

from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

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
    return engine_of(connections[router.db_for_write(Job)])


def engine_of(connection: BaseDatabaseWrapper) -> Engine:
    """The engine for ``connection``, whichever database that is."""
    return _ENGINES.get(connection.vendor, Engine)(connection)


__all__ = ["Engine", "engine_of", "get_engine"]
