"""What Django does after each test that commits, in a tenth of the time.

Its own ``flush`` empties every table, most of which have no rows, and then makes all
content types and permissions anew. That took longer than the tests themselves.
"""

from __future__ import annotations

from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management.color import no_style
from django.core.management.commands import flush
from django.db import connections

#: Made by ``migrate``; tests only read them.
KEPT = {ContentType._meta.db_table, Permission._meta.db_table}


class Command(flush.Command):
    def handle(self, *, database, **options):
        connection = connections[database]
        tables = [
            table
            for table in connection.introspection.django_table_names(
                only_existing=True, include_views=False
            )
            if table not in KEPT
        ]
        with_rows = self._with_rows(connection, tables)
        if with_rows:
            # Those that refer to one of them have no rows, or are among them.
            connection.ops.execute_sql_flush(
                connection.ops.sql_flush(no_style(), with_rows, allow_cascade=True)
            )

    def _with_rows(self, connection, tables):
        found = ", ".join(
            f"EXISTS(SELECT 1 FROM {connection.ops.quote_name(table)})"  # noqa: S608 (our own tables)
            for table in tables
        )
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {found}")
            return [t for t, yes in zip(tables, cursor.fetchone(), strict=True) if yes]
