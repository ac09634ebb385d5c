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
import sys

from django.apps import AppConfig, apps

from benchmarks import bodies, django_settings
from benchmarks.django_system import OnPostgreSQL, set_up
from benchmarks.system import Load, at_once, module_name, serve

LABEL = "django-background-tasks"
PACKAGE = "django-background-tasks"
JOBS = 100

DATABASES = {"default": django_settings.PERSISTENT_POSTGRESQL}
SECRET_KEY = django_settings.SECRET_KEY
INSTALLED_APPS = [
    *("django.contrib.contenttypes", "background_task"),
    f"{__spec__.name}.Bodies",
]
BACKGROUND_TASK_ASYNC_THREADS = int(os.environ.get("THREADS", "1"))
BACKGROUND_TASK_RUN_ASYNC = BACKGROUND_TASK_ASYNC_THREADS > 1
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"


class Bodies(AppConfig):
    """Makes the bodies tasks, once Django has its settings."""

    name = "benchmarks.systems"

    def ready(self) -> None:
        from background_task import background  # noqa: PLC0415 (it has models)

        for name, body in bodies.BODIES.items():
            setattr(bodies, name, background(name)(body))


class DjangoBackgroundTasks(OnPostgreSQL):
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
        return at_once(command, processes)


if __name__ == "__main__":
    set_up()
    serve(DjangoBackgroundTasks())
