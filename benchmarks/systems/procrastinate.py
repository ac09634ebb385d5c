# /// script
# requires-python = ">=3.12,<3.13"
# dependencies = ["procrastinate", "psycopg[binary]"]
# ///
"""Procrastinate with PostgreSQL: one worker that runs jobs as coroutines.

"--concurrency", among the worker's options, lets it run 20 at a time, so that one can
use the database while another waits for it; what blocks goes to threads. Workers listen
for new jobs, finished ones stay in the table, both as it comes. It has no results, and
no option for several processes, so that a shell starts them.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import psycopg
from procrastinate import App, PsycopgConnector

from benchmarks import bodies, services
from benchmarks.system import Load, System, module_name, serve

LABEL = "procrastinate"
PACKAGE = "procrastinate"
JOBS = 3_000
DATABASE = services.DATABASE_PREFIX + Path(os.environ["BENCH_DIR"]).name
SERVER = {
    "host": services.POSTGRES_HOST,
    "port": services.POSTGRES_PORT,
    "user": services.POSTGRES_USER,
    "password": services.POSTGRES_PASSWORD,
}

app = App(connector=PsycopgConnector(kwargs={**SERVER, "dbname": DATABASE}))
threads = ThreadPoolExecutor(20)


def _make_coroutine(name: str) -> Callable[..., Awaitable[object]]:
    body = getattr(bodies, name)

    async def run(args: list[int]) -> object:
        return body(*args)

    async def run_in_thread(args: list[int]) -> object:
        return await asyncio.get_running_loop().run_in_executor(threads, body, *args)

    return run_in_thread if name == "nap" else run


tasks = {
    name: app.task(_make_coroutine(name), name=name)
    for name in ("noop", "nap", "crunch", "stamp", "echo")
}


class Procrastinate(System):
    def reset(self) -> None:
        self.remove()
        _connect("postgres").execute(f'CREATE DATABASE "{DATABASE}"')
        with app.open():
            app.schema_manager.apply_schema()

    def remove(self) -> None:
        drop = f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)'
        _connect("postgres").execute(drop)

    def enqueue_one(self, body: str, *args: int) -> None:
        app.open()  # does nothing when it is open
        tasks[body].defer(args=args)

    def enqueue_many(self, body: str, count: int) -> None:
        app.open()
        tasks[body].batch_defer(*[{"args": []}] * count)

    def unsettled(self) -> int:
        rows = _connect().execute(
            "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
        )
        return rows.fetchone()[0]

    def worker_command(self, load: Load) -> list[str]:
        processes = load.processes or 1
        concurrency = load.concurrency // processes or 20
        command = [
            *(sys.executable, "-m", "procrastinate", f"--app={module_name()}.app"),
            *("--log-level=warning", "worker", f"--concurrency={concurrency}"),
        ]
        if processes == 1:
            return command
        each = f"for n in $(seq {processes}); do {shlex.join(command)} & done; wait"
        return ["sh", "-c", each]

    def autovacuum(self) -> None:
        _connect().execute("VACUUM ANALYZE")

    def server(self) -> str:
        version = _connect("postgres").info.parameter_status("server_version")
        return f"PostgreSQL {version.split()[0]}"


@lru_cache
def _connect(database: str = DATABASE) -> psycopg.Connection:
    return psycopg.connect(**SERVER, dbname=database, autocommit=True)


if __name__ == "__main__":
    serve(Procrastinate())
