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
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from procrastinate import App, PsycopgConnector

from benchmarks import bodies
from benchmarks.postgres import DATABASE, SERVER, OnPostgreSQL, connect
from benchmarks.system import Load, at_once, module_name, serve

LABEL = "procrastinate"
PACKAGE = "procrastinate"
JOBS = 3_000

app = App(connector=PsycopgConnector(kwargs={**SERVER, "dbname": DATABASE}))
threads = ThreadPoolExecutor(20)


def _make_coroutine(name: str) -> Callable[..., Awaitable[object]]:
    body = getattr(bodies, name)

    async def run(args: list[int]) -> object:
        return body(*args)

    async def run_in_thread(args: list[int]) -> object:
        return await asyncio.get_running_loop().run_in_executor(threads, body, *args)

    return run_in_thread if name == "nap" else run


tasks = {name: app.task(_make_coroutine(name), name=name) for name in bodies.BODIES}


class Procrastinate(OnPostgreSQL):
    def reset(self) -> None:
        super().reset()
        with app.open():
            app.schema_manager.apply_schema()

    def enqueue_one(self, body: str, *args: int) -> None:
        app.open()  # does nothing when it is open
        tasks[body].defer(args=args)

    def enqueue_many(self, body: str, count: int) -> None:
        app.open()
        tasks[body].batch_defer(*[{"args": []}] * count)

    def unsettled(self) -> int:
        rows = connect().execute(
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
        return at_once(command, processes)

    def autovacuum(self) -> None:
        connect().execute("VACUUM ANALYZE")


if __name__ == "__main__":
    serve(Procrastinate())
