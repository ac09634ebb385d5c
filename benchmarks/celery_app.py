"""Celery tuned by the "Optimizing" page of its user guide, with whichever broker.

Many short tasks want a large prefetch multiplier there ("64, or 128"). One process with
the solo pool drains faster than prefork, which hands every task through a pipe; tasks
that wait run in threads, and those that compute in prefork's processes. Messages are
acknowledged after the task ("task_acks_late"), so that a killed worker loses none.
"""

from __future__ import annotations

import sys

from celery import Celery
from celery.result import AsyncResult

from benchmarks import bodies
from benchmarks.system import Load, System, module_name

QUEUE = "bench-celery"


def make_app(*, broker: str, backend: str) -> Celery:
    """An app with the bodies as its tasks; a system's file calls it ``app``."""
    app = Celery("bench", broker=broker, backend=backend)
    app.conf.update(
        task_default_queue=QUEUE,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=128,
    )
    for name, body in bodies.BODIES.items():
        app.task(body, name=name, ignore_result=name != "echo")
    return app


class CelerySystem(System):
    """What is the same with every broker."""

    def __init__(self, app: Celery) -> None:
        self._tasks = app.tasks

    def remove(self) -> None:
        self.reset()

    def enqueue_one(self, body: str, *args: int) -> AsyncResult:
        return self._tasks[body].delay(*args)

    def wait_for(self, handle: AsyncResult) -> object:
        return handle.get(timeout=30)

    def worker_command(self, load: Load) -> list[str]:
        return [
            *(sys.executable, "-m", "celery", "-A", f"{module_name()}:app", "worker"),
            *("--loglevel", "WARNING"),
            *_pool(load),
        ]


def _pool(load: Load) -> tuple[str, ...]:
    if load.processes > 1:
        return ("--pool", "prefork", "--concurrency", str(load.processes))
    if load.concurrency > 1:
        return ("--pool", "threads", "--concurrency", str(load.concurrency))
    return ("--pool", "solo")
