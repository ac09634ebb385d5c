"""Commands that ask for what ``migrate`` has not done yet."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

from django_bgtasks.store.engines import get_engine

APP = "django_bgtasks"


class MigratedCommand(BaseCommand):
    """Works on our tables; if they are not as it needs them, it says what to do."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except DatabaseError as error:
            connection = get_engine().connection
            if _is_migrated(connection):
                raise
            database = connection.alias
            where = "" if database == DEFAULT_DB_ALIAS else f" --database={database}"
            raise CommandError(
                f"There are migrations of {APP} to apply first: "
                f"manage.py migrate {APP}{where}"
            ) from error


def _is_migrated(connection: BaseDatabaseWrapper) -> bool:
    # A database that does not answer has been told of already.
    with suppress(DatabaseError):
        executor = MigrationExecutor(connection)
        wanted = executor.loader.graph.leaf_nodes(APP)
        return not executor.migration_plan(wanted)
    return True
