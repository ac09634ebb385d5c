# /// script
# requires-python = ">=3.12,<3.13"
# dependencies = ["huey"]
# ///
"""Huey with SQLite: one worker process, with more threads for tasks that wait.

SQLite has one writer, so that a second process would only wait for it. This storage
polls: "--delay" and "--max-delay", from the guide's page on the consumer, let it look
every 10 ms. The file is in WAL mode with SQLite's own "synchronous", Huey's default.
Huey forgets a task once a worker has taken it: those that run are in no record, and are
lost with their worker, in every setting.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path

from huey import SqliteHuey
from huey.api import Result

from benchmarks import bodies
from benchmarks.system import Load, System, module_name, serve

LABEL = "Huey + SQLite"
PACKAGE = "huey"
JOBS = 20_000

huey = SqliteHuey("bench", filename=str(Path(os.environ["BENCH_DIR"]) / "huey.db"))
tasks = {name: huey.task(name=name)(body) for name, body in bodies.BODIES.items()}


class HueySqlite(System):
    def reset(self) -> None:
        huey.flush()

    def enqueue_one(self, body: str, *args: int) -> Result:
        return tasks[body](*args)

    def wait_for(self, handle: Result) -> object:
        return handle.get(blocking=True, timeout=30, backoff=1.0, max_delay=0.001)

    def unsettled(self) -> int:
        return huey.pending_count() + huey.scheduled_count()

    def worker_command(self, load: Load) -> list[str]:
        kind = "process" if load.processes > 1 else "thread"
        workers = load.concurrency or load.processes or 1
        return [
            *(sys.executable, "-m", "huey.bin.huey_consumer", f"{module_name()}.huey"),
            *("--worker-type", kind, "--workers", str(workers)),
            *("--delay", "0.01", "--max-delay", "0.01", "--quiet"),
        ]

    def server(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}"


if __name__ == "__main__":
    serve(HueySqlite())
