# /// script
# requires-python = ">=3.12,<3.13"
# dependencies = [
#     "pgqueuer[asyncpg,psycopg]",
#     "psycopg[binary]",
#     "typer<0.29", # since then the command line of PgQueuer 1.6.0 fails
# ]
# ///
"""PgQueuer with PostgreSQL: a worker for each core that fetches 500 jobs at a time.

Its page on performance recommends larger batches for short jobs, one connection of
asyncpg for the worker, and its settings for autovacuum; "durability" stays "durable".
"--max-concurrent-tasks" has to be twice the batch at least. What blocks goes to threads.
Rows of finished jobs are deleted, and there are no results. There is no option for
several processes, so that a shell starts them. Enqueueing is synchronous, on psycopg.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cached_property

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver, SyncPsycopgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries, SyncQueries

from benchmarks import bodies
from benchmarks.postgres import DATABASE, SERVER, OnPostgreSQL, connect
from benchmarks.system import Load, at_once, module_name, serve

LABEL = "PgQueuer"
PACKAGE = "pgqueuer"
JOBS = 100_000
PROCESSES = (1, 2)


@asynccontextmanager
async def make_queue() -> AsyncIterator[PgQueuer]:
    """What the worker's command calls."""
    connection = await asyncpg.connect(**SERVER, database=DATABASE)
    queue = PgQueuer(AsyncpgDriver(connection))
    threads = ThreadPoolExecutor(20)

    @queue.entrypoint("noop")
    async def noop(job: Job) -> None:
        bodies.noop()

    @queue.entrypoint("nap")
    async def nap(job: Job) -> None:
        await asyncio.get_running_loop().run_in_executor(threads, bodies.nap)

    @queue.entrypoint("crunch")
    async def crunch(job: Job) -> None:
        bodies.crunch()

    @queue.entrypoint("stamp")
    async def stamp(job: Job) -> None:
        bodies.stamp(int(job.payload))

    yield queue
    await connection.close()


class PgQueuerSystem(OnPostgreSQL):
    def reset(self) -> None:
        super().reset()
        asyncio.run(_install())

    def enqueue_one(self, body: str, *args: int) -> None:
        payload = str(args[0]).encode() if args else None
        self._queries.enqueue(body, payload)

    def enqueue_many(self, body: str, count: int) -> None:
        self._queries.enqueue([body] * count, [None] * count, [0] * count)

    def unsettled(self) -> int:
        return sum(group.count for group in self._queries.queue_size())

    def worker_command(self, load: Load) -> list[str]:
        processes = load.processes or (1 if load.concurrency else 2)
        command = [
            *(sys.executable, "-m", "pgqueuer", "run", f"{module_name()}:make_queue"),
            "--log-level=WARNING",
        ]
        if load.concurrency > processes:
            batch = load.concurrency // processes // 2
            command += [f"--batch-size={batch}", f"--max-concurrent-tasks={2 * batch}"]
        elif load.body != "crunch":
            command += ["--batch-size=500"]
        return at_once(command, processes)

    def hold_snapshot(self) -> None:
        connection = connect()
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT count(*) FROM pgqueuer")

    def autovacuum(self) -> None:
        connect().execute("VACUUM ANALYZE pgqueuer")

    @cached_property
    def _queries(self) -> SyncQueries:
        return SyncQueries(SyncPsycopgDriver(connect()))


async def _install() -> None:
    connection = await asyncpg.connect(**SERVER, database=DATABASE)
    queries = Queries(AsyncpgDriver(connection))
    await queries.install()
    await queries.optimize_autovacuum()
    await connection.close()


if __name__ == "__main__":
    serve(PgQueuerSystem())
