# /// script
# requires-python = ">=3.12,<3.13"
# dependencies = ["django", "django-q2", "psycopg[binary]"]
# ///
"""django-q2 with its ORM broker on PostgreSQL.

From its page on configuration: a worker for each core, 100 tasks fetched at a time
("bulk") with room for twice as many ("queue_limit"), a look at the queue every 10 ms
("poll") when it is empty, and a broker that gives a task again if its worker dies, after
"retry" seconds. Tasks whose result nobody reads do not save one ("save"). A cluster is
three processes more than its workers; 20 tasks at a time are 20 workers.

This file is the project's settings, too: the worker's command names it.
"""

from __future__ import annotations

import os
import sys

from benchmarks import django_settings
from benchmarks.django_system import OnPostgreSQL, set_up
from benchmarks.system import Load, module_name, serve

LABEL = "django-q2"
PACKAGE = "django-q2"

DATABASES = {"default": django_settings.PERSISTENT_POSTGRESQL}
SECRET_KEY = django_settings.SECRET_KEY
INSTALLED_APPS = ["django_q"]
Q_CLUSTER = {
    "orm": "default",
    "workers": int(os.environ.get("WORKERS", "2")),
    "bulk": 100,
    "queue_limit": 200,
    "poll": 0.01,
    "timeout": 60,
    "retry": 120,
    "save_limit": 0,
    "log_level": "WARNING",
}


class DjangoQ2(OnPostgreSQL):
    def enqueue_one(self, body: str, *args: int) -> str:
        return async_task(f"benchmarks.bodies.{body}", *args, save=body == "echo")

    def wait_for(self, handle: str) -> object:
        return result(handle, wait=30_000)

    def unsettled(self) -> int:
        return get_broker().queue_size() + get_broker().lock_size()

    def worker_command(self, load: Load) -> list[str]:
        workers = load.concurrency or load.processes or 2
        return [
            *("env", f"WORKERS={workers}", sys.executable, "-m", "django", "qcluster"),
            f"--settings={module_name()}",
        ]


if __name__ == "__main__":
    set_up()

    # Its models want a Django that is set up.
    from django_q.brokers import get_broker
    from django_q.tasks import async_task, result

    serve(DjangoQ2())
