"""Tables of packages that may not be installed any more, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone
from django.utils.dateparse import parse_datetime


class MissingTable(LookupError):
    """There is no such table in the database.

    Args:
        table: its name.
        alias: of the database.
    """

    def __init__(self, table: str, alias: str) -> None:
        super().__init__(
            f"There is no table {table} in the database {alias!r}. If it is in another "
            "one, give its alias by --database."
        )


class Row:
    """A row by the names of its columns, of which an older version may lack some."""

    def __init__(
        self, columns: Mapping[str, Any], zone: tzinfo | None, naive: tzinfo | None
    ) -> None:
        self._columns = columns
        self._zone = zone
        self._naive = naive

    def __getitem__(self, column: str) -> Any:
        return self._columns.get(column)

    def text(self, column: str) -> str:
        """What it says, without the space around it; empty if it says nothing."""
        value = self[column]
        return "" if value is None else str(value).strip()

    def moment(self, column: str) -> datetime | None:
        """The moment that it says, aware."""
        value = self[column]
        # SQLite knows no moments where a column was not declared as one.
        moment = parse_datetime(value) if isinstance(value, str) else value
        if moment is None or timezone.is_aware(moment):
            return moment
        return timezone.make_aware(moment, self._zone or self._naive)


class Tables:
    """The tables of one database.

    Args:
        connection: to it.
        naive: the zone of moments in a project without ``USE_TZ``, if the package did
            not write them in ``TIME_ZONE``.
    """

    def __init__(
        self, connection: BaseDatabaseWrapper, naive: tzinfo | None = None
    ) -> None:
        self._connection = connection
        self._naive = naive
        with connection.cursor() as cursor:
            self._names = set(connection.introspection.table_names(cursor))

    def read(self, table: str) -> list[Row]:
        """All its rows, in the order in which they were made.

        Raises:
            MissingTable: it does not exist.
        """
        if table not in self._names:
            raise MissingTable(table, self._connection.alias)
        quote = self._connection.ops.quote_name
        with self._connection.cursor() as cursor:
            cursor.execute(
                f"SELECT * FROM {quote(table)} ORDER BY {quote('id')}"  # noqa: S608 (a name from our own code)
            )
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return [Row(row, self._connection.timezone, self._naive) for row in rows]

    def by_id(self, table: str) -> Mapping[int, Row]:
        """All its rows by their ids; none where it does not exist."""
        rows = self.read(table) if table in self._names else []
        return {row["id"]: row for row in rows}
