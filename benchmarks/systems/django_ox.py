# /// script
# requires-python = ">=3.12,<3.13"
# dependencies = ["django", "django-ox", "psycopg[binary]"]
# ///
"""django-ox with PostgreSQL: a process for each core, threads for what waits.

"--interval", among the worker's options, lets one that has nothing to do look again
after 10 ms, not after a second; connections stay open, as its README measures it.

This file is the project's settings, too: the worker's command names it.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import django
from django.apps import AppConfig, apps
from django.core.management import call_command
from django.db import connection
from django.tasks import TaskResult, task
from django_ox.bulk import enqueue_many

from benchmarks import bodies, services
from benchmarks.system import Load, System, module_name, serve

LABEL = "django-ox"
PACKAGE = "django-ox"
JOBS = 3_000
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
INSTALLED_APPS = ["django_ox", f"{__spec__.name}.Bench"]
TASKS = {"default": {"BACKEND": "django_ox.backend.OxBackend"}}
SECRET_KEY = "only for measuring"  # noqa: S105 (it signs nothing)
USE_TZ = True


class Bench(AppConfig):
    """Makes the bodies tasks, once Django has its settings."""

    name = "benchmarks.systems"

    def ready(self) -> None:
        for name in ("noop", "nap", "crunch", "stamp", "echo"):
            setattr(bodies, name, task(getattr(bodies, name)))


class DjangoOx(System):
    def reset(self) -> None:
        self.remove()
        _on_server('CREATE DATABASE "{}"')
        call_command("migrate", verbosity=0)

    def remove(self) -> None:
        connection.close()
        _on_server('DROP DATABASE IF EXISTS "{}" WITH (FORCE)')

    def enqueue_one(self, body: str, *args: int) -> TaskResult:
        return getattr(bodies, body).enqueue(*args)

    def enqueue_many(self, body: str, count: int) -> None:
        enqueue_many(getattr(bodies, body), [((), {})] * count)

    def wait_for(self, handle: TaskResult) -> object:
        while not handle.is_finished:
            time.sleep(0.001)
            handle.refresh()
        return handle.return_value

    def unsettled(self) -> int:
        tasks = apps.get_model("django_ox.OxTask").objects
        return tasks.filter(status__in=["READY", "WAITING", "RUNNING"]).count()

    def worker_command(self, load: Load) -> list[str]:
        processes = load.processes or (1 if load.concurrency else 2)
        threads = load.concurrency // processes or 1
        return [
            *(sys.executable, "-m", "django", "ox_worker", "--interval=0.01"),
            *(f"--processes={processes}", f"--concurrency={threads}"),
            *("--verbosity=0", f"--settings={module_name()}"),
        ]

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
    serve(DjangoOx())
