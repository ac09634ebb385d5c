# /// script
# requires-python = ">=3.12,<3.13"
# dependencies = ["celery"]
# ///
"""Celery with RabbitMQ, tuned as ``celery_app`` says.

Results come back by the "rpc" backend, RabbitMQ's own.
"""

from __future__ import annotations

from benchmarks.celery_app import QUEUE, CelerySystem, make_app
from benchmarks.services import RABBITMQ_URL
from benchmarks.system import serve

LABEL = "Celery + RabbitMQ"
PACKAGE = "celery"
JOBS = 25_000

app = make_app(broker=RABBITMQ_URL, backend="rpc://")


class CeleryRabbitMQ(CelerySystem):
    def reset(self) -> None:
        with app.connection_for_write() as connection:
            app.amqp.queues[QUEUE](connection.default_channel).delete()

    def unsettled(self) -> int:
        with app.connection_for_read() as connection:
            queue = app.amqp.queues[QUEUE](connection.default_channel)
            queue.declare()
            _, ready, workers = queue.queue_declare(passive=True)
        # What is sent out, RabbitMQ tells by its management plugin only; workers know.
        return ready + (_unacknowledged() if workers else 0)

    def server(self) -> str:
        with app.connection_for_read() as connection:
            facts = connection.connection.server_properties
        return f"{facts['product']} {facts['version']}"


def _unacknowledged() -> int:
    inspect = app.control.inspect(timeout=5, limit=1)
    # In the order in which they go from the one to the other, so that none is missed.
    waiting, running = inspect.reserved() or {}, inspect.active() or {}
    return sum(map(len, [*waiting.values(), *running.values()]))


if __name__ == "__main__":
    serve(CeleryRabbitMQ(app))
