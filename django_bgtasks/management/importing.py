"""What the commands that import schedules have in common."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_bgtasks.compat.importing import Fate, Importer, Line, OldSchedule, totals
from django_bgtasks.compat.tables import MissingTable
from django_bgtasks.management.migrated import MigratedCommand
from django_bgtasks.store.engines import get_engine


class ImportCommand(MigratedCommand):
    """Imports the schedules of one package, and reports what became of each."""

    def schedules(self, connection: BaseDatabaseWrapper) -> Iterable[OldSchedule]:
        """Those that are in a database.

        Raises:
            MissingTable: the package has no tables there.
        """
        raise NotImplementedError

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--task",
            action="append",
            type=_renaming,
            default=None,
            metavar="OLD=NEW",
            help="The name of a task here, where it differs. May be given repeatedly.",
        )
        parser.add_argument(
            "--update",
            action="store_true",
            help="Replace schedules that are there already, unless settings or code "
            "own them.",
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="Only report what would become of each.",
        )
        parser.add_argument(
            "--database",
            help="The alias of the database to read them from. Default: the one that "
            "holds the jobs.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        alias = options["database"] or get_engine().alias
        if alias not in connections:
            raise CommandError(f"There is no database {alias!r} in DATABASES.")
        importer = Importer(
            tasks=dict(options["task"] or ()),
            update=options["update"],
            dry_run=options["dry_run"],
        )
        try:
            olds = self.schedules(connections[alias])
        except MissingTable as error:
            raise CommandError(str(error)) from error
        lines = importer.run(olds)
        for line in lines:
            self._report(line)
        self.stdout.write(totals(lines))
        if options["dry_run"]:
            self.stdout.write("Nothing was written: it was a dry run.")

    def _report(self, line: Line) -> None:
        style = self.style.WARNING if line.fate == Fate.LEFT_OUT else self.style.SUCCESS
        self.stdout.write(f"{style(line.fate)}: {line.name}")
        for note in line.notes:
            self.stdout.write(f"    {note}")


def _renaming(value: str) -> tuple[str, str]:
    old, equals, new = (part.strip() for part in value.partition("="))
    if not (old and equals and new):
        raise argparse.ArgumentTypeError(f"{value!r} is not like old.path=new.path")
    return old, new
