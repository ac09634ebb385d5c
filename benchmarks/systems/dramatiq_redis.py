# /// script
# requires-python = ">=3.12,<3.13"
# dependencies = ["dramatiq[redis]", "redis[hiredis]"]
# ///
"""Dramatiq with Redis: a process for each core with 8 threads each, its own default.

Of the environment variables in its reference, "dramatiq_queue_prefetch" lets a worker
fetch 1,000 short messages at a time, and with "dramatiq_worker_timeout" one that has
nothing to do asks again after 5 ms, not after a second. Messages are acknowledged after
the actor, as always with Dramatiq. Its command has no option for the log level; without
its logging the level is Python's own, WARNING.
"""

from __future__ import annotations

import sys

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks import bodies
from benchmarks.services import REDIS_URL
from benchmarks.system import Load, System, module_name, serve

LABEL = "Dramatiq + Redis"
PACKAGE = "dramatiq"
JOBS = 50_000
NAMESPACE = "bench-dramatiq"

broker = RedisBroker(url=REDIS_URL, namespace=NAMESPACE)
# Results go by themselves: their keys, hashes, do not say whose they are.
results = RedisBackend(client=broker.client, namespace=NAMESPACE)
broker.add_middleware(Results(backend=results, result_ttl=60_000))
dramatiq.set_broker(broker)
actors = {
    name: dramatiq.actor(body, store_results=name == "echo")
    for name, body in bodies.BODIES.items()
}


class DramatiqRedis(System):
    def reset(self) -> None:
        for key in broker.client.scan_iter(f"{NAMESPACE}*", count=1000):
            broker.client.delete(key)

    def remove(self) -> None:
        self.reset()

    def enqueue_one(self, body: str, *args: int) -> dramatiq.Message:
        return actors[body].send(*args)

    def wait_for(self, handle: dramatiq.Message) -> object:
        return handle.get_result(block=True, timeout=30_000)

    def unsettled(self) -> int:
        return broker.do_qsize("default")  # unacknowledged messages included

    def worker_command(self, load: Load) -> list[str]:
        processes = load.processes or (1 if load.concurrency else 2)
        threads = load.concurrency // processes or 8
        # What takes its time shall not wait in one process while another is idle.
        prefetch = 2 * threads if load.body in {"nap", "crunch"} else 1_000
        return [
            *(
                "env",
                f"dramatiq_queue_prefetch={prefetch}",
                "dramatiq_worker_timeout=5",
            ),
            *(sys.executable, "-m", "dramatiq", f"{module_name()}:broker"),
            *("--processes", str(processes), "--threads", str(threads)),
            "--skip-logging",
        ]

    def server(self) -> str:
        return f"Redis {broker.client.info('server')['redis_version']}"


if __name__ == "__main__":
    serve(DramatiqRedis())
