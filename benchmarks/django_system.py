"""Systems that are apps of Django, with a project as small as it can be.

A system's file is its project's settings, too, because the worker's command has to name
some; what they have in common is in ``django_settings``.
"""

from __future__ import annotations

import os
import time
from typing import Any

import django
from django.core.management import call_command
from django.db import connection

from benchmarks.system import System, module_name


class DjangoSystem(System):
    """An app of Django, with whichever database the settings name."""

    def reset(self) -> None:
        call_command("migrate", verbosity=0)

    def server(self) -> str:
        version = ".".join(map(str, connection.get_database_version()))
        return f"{connection.display_name} {version}"


class OnPostgreSQL(DjangoSystem):
    """With a database that is made anew each time."""

    def reset(self) -> None:
        self.remove()
        on_server("CREATE DATABASE {name}")
        super().reset()

    def remove(self) -> None:
        connection.close()
        on_server("DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def autovacuum(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")


def set_up() -> None:
    """Make the system's file, which is running, the settings."""
    os.environ["DJANGO_SETTINGS_MODULE"] = module_name()
    django.setup()


def on_server(statement: str) -> None:
    """Run a statement about our database, its ``{name}``, from outside it."""
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    with connection._nodb_cursor() as cursor:  # noqa: SLF001 (ours may not exist yet)
        cursor.execute(statement.format(name=name))


def value_of(result: Any) -> object:
    """What a job returned, from a result such as those of Django's tasks."""
    while not result.is_finished:
        time.sleep(0.001)  # noqa: TID251 (such a result can only be asked again)
        result.refresh()
    return result.return_value
