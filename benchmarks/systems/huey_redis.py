# /// script
# requires-python = ">=3.12,<3.13"
# dependencies = ["huey", "redis[hiredis]"]
# ///
"""Huey with Redis: a worker process for each core, threads for tasks that wait.

Its guide recommends processes for what computes and threads for what waits; the storage
blocks until there is work, and tells whoever waits for a result ("notify_result").
Huey forgets a task once a worker has taken it: those that run are in no record, and are
lost with their worker, in every setting.
"""

from __future__ import annotations

import sys

from huey import RedisHuey
from huey.api import Result

from benchmarks import bodies
from benchmarks.services import REDIS_URL
from benchmarks.system import Load, System, module_name, serve

LABEL = "Huey + Redis"
PACKAGE = "huey"
JOBS = 25_000

huey = RedisHuey("bench", url=REDIS_URL, notify_result=True)
tasks = {name: huey.task(name=name)(body) for name, body in bodies.BODIES.items()}


class HueyRedis(System):
    def reset(self) -> None:
        huey.flush()

    def remove(self) -> None:
        self.reset()

    def enqueue_one(self, body: str, *args: int) -> Result:
        return tasks[body](*args)

    def wait_for(self, handle: Result) -> object:
        return handle.get(blocking=True, timeout=30)

    def unsettled(self) -> int:
        return huey.pending_count() + huey.scheduled_count()

    def worker_command(self, load: Load) -> list[str]:
        processes = load.processes or (1 if load.concurrency else 2)
        kind = "process" if processes > 1 else "thread"
        workers = load.concurrency or processes
        return [
            *(sys.executable, "-m", "huey.bin.huey_consumer", f"{module_name()}.huey"),
            *("--worker-type", kind, "--workers", str(workers)),
            "--quiet",
        ]

    def server(self) -> str:
        return f"Redis {huey.storage.conn.info('server')['redis_version']}"


if __name__ == "__main__":
    serve(HueyRedis())
