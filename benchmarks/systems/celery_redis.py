# /// script
# requires-python = ">=3.12,<3.13"
# dependencies = ["celery[redis]", "redis[hiredis]"]
# ///
"""Celery with Redis, tuned as ``celery_app`` says."""

from __future__ import annotations

from celery import Celery
from redis import Redis

from benchmarks.celery_app import QUEUE, CelerySystem, make_app
from benchmarks.services import REDIS_URL
from benchmarks.system import serve

LABEL = "Celery + Redis"
PACKAGE = "celery"
JOBS = 8_000

app = make_app(broker=REDIS_URL, backend=REDIS_URL)


class CeleryRedis(CelerySystem):
    def __init__(self, app: Celery) -> None:
        super().__init__(app)
        self._redis = Redis.from_url(REDIS_URL)

    def reset(self) -> None:
        self._redis.delete("unacked", "unacked_index")
        for pattern in (f"*{QUEUE}*", "celery-task-meta-*"):
            for key in self._redis.scan_iter(pattern, count=1000):
                self._redis.delete(key)

    def unsettled(self) -> int:
        return self._redis.llen(QUEUE) + self._redis.hlen("unacked")

    def server(self) -> str:
        return f"Redis {self._redis.info('server')['redis_version']}"


if __name__ == "__main__":
    serve(CeleryRedis(app))
