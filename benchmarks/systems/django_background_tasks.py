# /// script
# requires-python = ">=3.12,<3.13"
# dependencies = ["django", "django-background-tasks", "psycopg[binary]"]
# ///
"""django-background-tasks with PostgreSQL: one worker, threads for more tasks at a time.

"--sleep", among the worker's options, lets one that has nothing to do look again after
10 ms, not after five seconds; the rest of up to 0.1 s after each task is in no option.
"BACKGROUND_TASK_RUN_ASYNC", from its page on settings, runs tasks in threads, which that
rest does not let fill. There is no option for several processes, so that a shell starts
them.

This file is the project's settings, too: the worker's command names it.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import django
from django.apps import AppConfig, apps
from django.core.management import call_command
from django.db import connection

from benchmarks import bodies, services
from benchmarks.system import Load, System, module_name, serve

LABEL = "django-background-tasks"
PACKAGE = "django-background-tasks"
JOBS = 100

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
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "background_task",
    f"{__spec__.name}.Bench",
]
BACKGROUND_TASK_ASYNC_THREADS = int(os.environ.get("THREADS", "1"))
BACKGROUND_TASK_RUN_ASYNC = BACKGROUND_TASK_ASYNC_THREADS > 1
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
SECRET_KEY = "only for measuring"  # noqa: S105 (it signs nothing)
USE_TZ = True


class Bench(AppConfig):
    """Makes the bodies tasks, once Django has its settings."""

    name = "benchmarks.systems"

    def ready(self) -> None:
        from background_task import background  # noqa: PLC0415 (it has models)

        for name in ("noop", "nap", "crunch", "stamp", "echo"):
            setattr(bodies, name, background(name)(getattr(bodies, name)))


class DjangoBackgroundTasks(System):
    def reset(self) -> None:
        self.remove()
        _on_server('CREATE DATABASE "{}"')
        call_command("migrate", verbosity=0)

    def remove(self) -> None:
        connection.close()
        _on_server('DROP DATABASE IF EXISTS "{}" WITH (FORCE)')

    def enqueue_one(self, body: str, *args: int) -> None:
        getattr(bodies, body)(*args)

    def unsettled(self) -> int:
        return apps.get_model("background_task.Task").objects.count()

    def worker_command(self, load: Load) -> list[str]:
        processes = load.processes or 1
        threads = load.concurrency // processes or 1
        command = [
            *("env", f"THREADS={threads}", sys.executable, "-m", "django"),
            *("process_tasks", "--sleep=0.01", f"--settings={module_name()}"),
        ]
        if processes == 1:
            return command
        each = f"for n in $(seq {processes}); do {shlex.join(command)} & done; wait"
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
    serve(DjangoBackgroundTasks())
