# /// script
# requires-python = ">=3.12,<3.13"
# dependencies = ["celery[redis]", "redis[hiredis]"]
# ///
"""Celery with Redis, tuned by the "Optimizing" page of its user guide.

Many short tasks want a large prefetch multiplier there ("64, or 128"). One process with
the solo pool drains faster than prefork, which hands every task through a pipe; tasks
that wait run in threads, and those that compute in prefork's processes. Messages are
acknowledged after the task ("task_acks_late"), so that a killed worker loses none.
"""

from __future__ import annotations

import sys

from celery import Celery
from celery.result import AsyncResult
from redis import Redis

from benchmarks import bodies
from benchmarks.services import REDIS_URL
from benchmarks.system import Load, System, module_name, serve

LABEL = "Celery + Redis"
PACKAGE = "celery"
JOBS = 8_000
QUEUE = "bench-celery"

app = Celery("bench", broker=REDIS_URL, backend=REDIS_URL)
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


class CeleryRedis(System):
    def __init__(self) -> None:
        self._redis = Redis.from_url(REDIS_URL)

    def reset(self) -> None:
        self._redis.delete("unacked", "unacked_index")
        for pattern in (f"*{QUEUE}*", "celery-task-meta-*"):
            for key in self._redis.scan_iter(pattern, count=1000):
                self._redis.delete(key)

    def remove(self) -> None:
        self.reset()

    def enqueue_one(self, body: str, *args: int) -> AsyncResult:
        return tasks[body].delay(*args)

    def wait_for(self, handle: AsyncResult) -> object:
        return handle.get(timeout=30)

    def unsettled(self) -> int:
        return self._redis.llen(QUEUE) + self._redis.hlen("unacked")

    def worker_command(self, load: Load) -> list[str]:
        return [
            *(sys.executable, "-m", "celery", "-A", f"{module_name()}:app", "worker"),
            *("--loglevel", "WARNING"),
            *_pool(load),
        ]

    def server(self) -> str:
        return f"Redis {self._redis.info('server')['redis_version']}"


def _pool(load: Load) -> tuple[str, ...]:
    if load.processes > 1:
        return ("--pool", "prefork", "--concurrency", str(load.processes))
    if load.concurrency > 1:
        return ("--pool", "threads", "--concurrency", str(load.concurrency))
    return ("--pool", "solo")


if __name__ == "__main__":
    serve(CeleryRedis())
