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

import sys

from django.apps import apps
from django_ox.bulk import enqueue_many

from benchmarks import bodies, django_settings
from benchmarks.django_system import set_up
from benchmarks.django_tasks import DjangoTasks
from benchmarks.system import Load, module_name, serve

LABEL = "django-ox"
PACKAGE = "django-ox"
JOBS = 3_000
PROCESSES = (1, 2)

DATABASES = {"default": django_settings.PERSISTENT_POSTGRESQL}
SECRET_KEY = django_settings.SECRET_KEY
INSTALLED_APPS = ["django_ox", "benchmarks.django_tasks.Bodies"]
TASKS = {"default": {"BACKEND": "django_ox.backend.OxBackend"}}


class DjangoOx(DjangoTasks):
    def enqueue_many(self, body: str, count: int) -> None:
        enqueue_many(getattr(bodies, body), [((), {})] * count)

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


if __name__ == "__main__":
    set_up()
    serve(DjangoOx())
