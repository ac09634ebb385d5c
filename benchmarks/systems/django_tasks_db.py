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

import sys

from django.apps import apps

from benchmarks import django_settings
from benchmarks.django_system import set_up
from benchmarks.django_tasks import DjangoTasks
from benchmarks.system import Load, at_once, module_name, serve

LABEL = "django-tasks-db"
PACKAGE = "django-tasks-db"
PROCESSES = (1, 2)

DATABASES = {"default": django_settings.PERSISTENT_POSTGRESQL}
SECRET_KEY = django_settings.SECRET_KEY
INSTALLED_APPS = ["django_tasks_db", "benchmarks.django_tasks.Bodies"]
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}


class DjangoTasksDB(DjangoTasks):
    def unsettled(self) -> int:
        results = apps.get_model("django_tasks_database.DBTaskResult").objects
        return results.filter(status__in=["READY", "RUNNING"]).count()

    def worker_command(self, load: Load) -> list[str]:
        workers = load.concurrency or load.processes or 2
        command = [
            *(sys.executable, "-m", "django", "db_worker", "--interval=0.01"),
            *("--no-startup-delay", "--verbosity=0", f"--settings={module_name()}"),
        ]
        return at_once(command, workers)


if __name__ == "__main__":
    set_up()
    serve(DjangoTasksDB())
