# /// script
# requires-python = ">=3.12,<3.13"
# dependencies = ["rq", "redis[hiredis]"]
# ///
"""RQ with Redis: a pool of "SimpleWorker", which runs jobs without forking for each.

Its "Notes on Performance" say so for jobs of some milliseconds; "result_ttl=0", from its
page on results, forgets jobs whose results nobody reads. There are no threads: 20 jobs
at a time are 20 processes. A worker that dies leaves its job in the registry of those
that run, from where RQ's maintenance takes it.
"""

from __future__ import annotations

import sys

from redis import Redis
from rq import Queue
from rq.job import Job

from benchmarks import bodies
from benchmarks.services import REDIS_URL
from benchmarks.system import Load, System, serve

LABEL = "RQ"
PACKAGE = "rq"
JOBS = 4_000
QUEUE = "bench"


class RQ(System):
    def __init__(self) -> None:
        self._redis = Redis.from_url(REDIS_URL)
        self._queue = Queue(QUEUE, connection=self._redis)

    def reset(self) -> None:
        for key in self._redis.scan_iter("rq:*", count=1000):
            self._redis.delete(key)

    def remove(self) -> None:
        self.reset()

    def enqueue_one(self, body: str, *args: int) -> Job:
        return self._queue.enqueue(getattr(bodies, body), args=args, **_options(body))

    def enqueue_many(self, body: str, count: int) -> None:
        job = Queue.prepare_data(getattr(bodies, body), **_options(body))
        self._queue.enqueue_many([job] * count)

    def wait_for(self, handle: Job) -> object:
        return handle.latest_result(timeout=30).return_value

    def unsettled(self) -> int:
        # In the order in which jobs go from the one to the next, so that none is missed.
        waiting = self._queue.count
        taken = len(self._queue.intermediate_queue.get_job_ids())
        return waiting + taken + self._queue.started_job_registry.count

    def worker_command(self, load: Load) -> list[str]:
        workers = load.concurrency or load.processes or 2
        kind = ("worker",)
        if workers > 1:
            kind = ("worker-pool", "--num-workers", str(workers))
        return [
            *(sys.executable, "-m", "rq.cli", *kind, "--url", REDIS_URL),
            *("--worker-class", "rq.SimpleWorker", "--quiet", QUEUE),
        ]

    def server(self) -> str:
        return f"Redis {self._redis.info('server')['redis_version']}"


def _options(body: str) -> dict[str, int]:
    return {} if body == "echo" else {"result_ttl": 0}


if __name__ == "__main__":
    serve(RQ())
