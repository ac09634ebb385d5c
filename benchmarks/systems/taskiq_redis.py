# /// script
# requires-python = ">=3.12,<3.13"
# dependencies = ["taskiq[uv]", "taskiq-redis", "redis[hiredis]"]
# ///
"""Taskiq with Redis streams: its Redis broker that acknowledges, and so loses nothing.

Tasks are coroutines on uvloop ("taskiq[uv]"); what blocks goes to threads, of which
"--max-threadpool-threads" says how many. Two worker processes are its default. Only the
task whose value is read has a result backend: it belongs to one more broker, on the same
stream.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

from redis import Redis
from taskiq import AsyncTaskiqTask
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks import bodies
from benchmarks.services import REDIS_URL
from benchmarks.system import Load, System, module_name, serve

LABEL = "Taskiq + Redis"
PACKAGE = "taskiq"
JOBS = 30_000
QUEUE = "bench-taskiq"
RESULTS = f"{QUEUE}-results"

broker = RedisStreamBroker(REDIS_URL, queue_name=QUEUE)
broker_with_results = RedisStreamBroker(
    REDIS_URL, queue_name=QUEUE
).with_result_backend(
    RedisAsyncResultBackend(REDIS_URL, prefix_str=RESULTS, result_ex_time=1_000)
)


def _make_coroutine(name: str) -> Callable[..., Awaitable[object]]:
    body = getattr(bodies, name)

    async def run(*args: int) -> object:
        return body(*args)

    return run


tasks = {
    name: broker.task(name)(_make_coroutine(name))
    for name in ("noop", "crunch", "stamp")
}
tasks["nap"] = broker.task("nap")(bodies.nap)
tasks["echo"] = broker_with_results.task("echo")(_make_coroutine("echo"))


class TaskiqRedis(System):
    def __init__(self) -> None:
        self._redis = Redis.from_url(REDIS_URL, decode_responses=True)
        self._loop = asyncio.Runner()

    def reset(self) -> None:
        self.remove()
        self._loop.run(broker.startup())  # makes the stream, and the workers' group

    def remove(self) -> None:
        for key in self._redis.scan_iter(f"*{QUEUE}*", count=1000):
            self._redis.delete(key)

    def enqueue_one(self, body: str, *args: int) -> AsyncTaskiqTask:
        return self._loop.run(tasks[body].kiq(*args))

    def wait_for(self, handle: AsyncTaskiqTask) -> object:
        waiting = handle.wait_result(check_interval=0.001, timeout=30)
        return self._loop.run(waiting).return_value

    def unsettled(self) -> int:
        (group,) = self._redis.xinfo_groups(QUEUE)
        return group["lag"] + group["pending"]

    def worker_command(self, load: Load) -> list[str]:
        processes = load.processes or (1 if load.concurrency else 2)
        name = "broker_with_results" if load.body == "echo" else "broker"
        command = [
            *(sys.executable, "-m", "taskiq", "worker", f"{module_name()}:{name}"),
            *("--log-level", "WARNING", "--workers", str(processes)),
        ]
        if load.concurrency:
            limit = str(load.concurrency // processes)
            command += ["--max-async-tasks", limit, "--max-threadpool-threads", limit]
        return command

    def server(self) -> str:
        return f"Redis {self._redis.info('server')['redis_version']}"


if __name__ == "__main__":
    serve(TaskiqRedis())
