# /// script
# requires-python = ">=3.12,<3.13"
# dependencies = ["celery"]
# ///
"""Celery with RabbitMQ, tuned by the "Optimizing" page of its user guide.

Many short tasks want a large prefetch multiplier there ("64, or 128"). One process with
the solo pool drains faster than prefork, which hands every task through a pipe; tasks
that wait run in threads, and those that compute in prefork's processes. Messages are
acknowledged after the task ("task_acks_late"), so that a killed worker loses none.
Results come back by the "rpc" backend, RabbitMQ's own.
"""

from __future__ import annotations

import sys

from celery import Celery
from celery.result import AsyncResult

from benchmarks import bodies
from benchmarks.services import RABBITMQ_URL
from benchmarks.system import Load, System, module_name, serve

LABEL = "Celery + RabbitMQ"
PACKAGE = "celery"
JOBS = 25_000
QUEUE = "bench-celery"

app = Celery("bench", broker=RABBITMQ_URL, backend="rpc://")
app.conf.update(
    task_default_queue=QUEUE,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=128,
)
tasks = {
    name: app.task(getattr(bodies, name), name=name, ignore_result=name != "echo")
    for name in ("noop", "nap", "crunch", "stamp", "echo")
}


class CeleryRabbitMQ(System):
    def reset(self) -> None:
        with app.connection_for_write() as connection:
            app.amqp.queues[QUEUE](connection.default_channel).delete()

    def remove(self) -> None:
        self.reset()

    def enqueue_one(self, body: str, *args: int) -> AsyncResult:
        return tasks[body].delay(*args)

    def wait_for(self, handle: AsyncResult) -> object:
        return handle.get(timeout=30)

    def unsettled(self) -> int:
        with app.connection_for_read() as connection:
            queue = app.amqp.queues[QUEUE](connection.default_channel)
            queue.declare()
            _, ready, workers = queue.queue_declare(passive=True)
        # What is sent out, RabbitMQ tells by its management plugin only; workers know.
        return ready + (_unacknowledged() if workers else 0)

    def worker_command(self, load: Load) -> list[str]:
        return [
            *(sys.executable, "-m", "celery", "-A", f"{module_name()}:app", "worker"),
            *("--loglevel", "WARNING"),
            *_pool(load),
        ]

    def server(self) -> str:
        with app.connection_for_read() as connection:
            facts = connection.connection.server_properties
        return f"{facts['product']} {facts['version']}"


def _unacknowledged() -> int:
    inspect = app.control.inspect(timeout=5, limit=1)
    # In the order in which they go from the one to the other, so that none is missed.
    waiting, running = inspect.reserved() or {}, inspect.active() or {}
    return sum(map(len, [*waiting.values(), *running.values()]))


def _pool(load: Load) -> tuple[str, ...]:
    if load.processes > 1:
        return ("--pool", "prefork", "--concurrency", str(load.processes))
    if load.concurrency > 1:
        return ("--pool", "threads", "--concurrency", str(load.concurrency))
    return ("--pool", "solo")


if __name__ == "__main__":
    serve(CeleryRabbitMQ())
