# /// script
# requires-python = ">=3.12,<3.13"
# dependencies = ["django", "django-tasks-db", "psycopg[binary]"]
# ///
"""django-tasks-db with PostgreSQL: workers that run one task at a time each.

More work at a time takes more workers, which a shell starts. "--interval", among the
worker's options, lets one that has nothing to do look again after 10 ms, not after a
second; connections stay open ("Persistent connections" in Django's page on databases). With
"--verbosity 1" the worker would log a line for each task, so that it is 0. A worker that
dies leaves its task running for ever, in every setting.

This file is the project's settings, too: the worker's command names it.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path

import django
from django.apps import AppConfig, apps
from django.core.management import call_command
from django.db import connection
from django.tasks import TaskResult, task

from benchmarks import bodies, services
from benchmarks.system import Load, System, module_name, serve

LABEL = "django-tasks-db"
PACKAGE = "django-tasks-db"
PROCESSES = (1, 2)

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": services.DATABASE_PREFIX + Path(os.environ["BENCH_DIR"]).name,
        "HOST": services.POSTGRES_HOST,
        "PORT": services.POSTGRES_PORT,
        "USER": services.POSTGRES_USER,
        "PASSWORD": services.POSTGRES_PASSWORD,
        "CONN_MAX_AGE": None,
    }
}
INSTALLED_APPS = ["django_tasks_db", f"{__spec__.name}.Bench"]
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
SECRET_KEY = "only for measuring"  # noqa: S105 (it signs nothing)
USE_TZ = True


class Bench(AppConfig):
    """Makes the bodies tasks, once Django has its settings."""

    name = "benchmarks.systems"

    def ready(self) -> None:
        for name in ("noop", "nap", "crunch", "stamp", "echo"):
            setattr(bodies, name, task(getattr(bodies, name)))


class DjangoTasksDB(System):
    def reset(self) -> None:
        self.remove()
        _on_server('CREATE DATABASE "{}"')
        call_command("migrate", verbosity=0)

    def remove(self) -> None:
        connection.close()
        _on_server('DROP DATABASE IF EXISTS "{}" WITH (FORCE)')

    def enqueue_one(self, body: str, *args: int) -> TaskResult:
        return getattr(bodies, body).enqueue(*args)

    def wait_for(self, handle: TaskResult) -> object:
        while not handle.is_finished:
            time.sleep(0.001)
            handle.refresh()
        return handle.return_value

    def unsettled(self) -> int:
        results = apps.get_model("django_tasks_database.DBTaskResult").objects
        return results.filter(status__in=["READY", "RUNNING"]).count()

    def worker_command(self, load: Load) -> list[str]:
        workers = load.concurrency or load.processes or 2
        command = [
            *(sys.executable, "-m", "django", "db_worker", "--interval=0.01"),
            *("--no-startup-delay", "--verbosity=0", f"--settings={module_name()}"),
        ]
        if workers == 1:
            return command
        each = f"for n in $(seq {workers}); do {shlex.join(command)} & done; wait"
        return ["sh", "-c", each]

    def autovacuum(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")

    def server(self) -> str:
        with connection._nodb_cursor() as cursor:  # noqa: SLF001 (as below)
            cursor.execute("SHOW server_version")
            return f"PostgreSQL {cursor.fetchone()[0].split()[0]}"


def _on_server(statement: str) -> None:
    # Django's way of reaching a server whose database may not exist.
    with connection._nodb_cursor() as cursor:  # noqa: SLF001
        cursor.execute(statement.format(DATABASES["default"]["NAME"]))


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = module_name()
    django.setup()
    serve(DjangoTasksDB())
