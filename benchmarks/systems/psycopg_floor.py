# /// script
# requires-python = ">=3.12,<3.13"
# dependencies = ["psycopg[binary]", "uuid-utils"]
# ///
"""What PostgreSQL and psycopg can do at all: no queue, only the statements of one.

A table as small as possible, and a loop that finishes 500 jobs and claims the next 500
in one round trip. It has no retries, no results, no priorities, no wake-up, and it
loses what it holds when it dies: a floor under the time that a queue takes.
"""

from __future__ import annotations

import sys
from contextlib import suppress

import psycopg
from uuid_utils.compat import uuid7

from benchmarks import bodies, floor_rows
from benchmarks.postgres import OnPostgreSQL, connect, make_database
from benchmarks.system import Load, module_name, serve

LABEL = "bare psycopg loop (floor)"
PACKAGE = "psycopg"
JOBS = 200_000
BATCH = 500

READY, RUNNING, FINISHED = range(3)

_TABLE = f"""
    DROP TABLE IF EXISTS job;
    CREATE TABLE job (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        status smallint NOT NULL DEFAULT {READY});
    CREATE INDEX ready ON job (id) WHERE status = {READY};
    DROP TABLE IF EXISTS wide;
    {floor_rows.TABLE.format(uuid="uuid", json="jsonb", time="timestamptz")}
"""
_FINISH_AND_CLAIM = f"""
    WITH finished AS (UPDATE job SET status = {FINISHED} WHERE id = ANY(%s)),
    next AS MATERIALIZED (
        SELECT id FROM job WHERE status = {READY}
        ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
    UPDATE job SET status = {RUNNING} FROM next WHERE job.id = next.id RETURNING job.id
"""
_UNSETTLED = f"SELECT count(*) FROM job WHERE status < {FINISHED}"


class PsycopgFloor(OnPostgreSQL):
    def reset(self) -> None:
        with suppress(psycopg.errors.DuplicateDatabase):
            make_database()
        connect().execute(_TABLE)

    def enqueue_one(self, body: str, *args: int) -> None:
        """A row such as ours: what it takes to write it, and nothing around it."""
        connect().execute(floor_rows.insert("%s"), floor_rows.new_row(uuid7()))

    def enqueue_many(self, body: str, count: int) -> None:
        with connect().cursor().copy("COPY job (status) FROM STDIN") as copy:
            for _ in range(count):
                copy.write_row([READY])

    def unsettled(self) -> int:
        rows = connect().execute(_UNSETTLED)
        return rows.fetchone()[0]

    def worker_command(self, load: Load) -> list[str]:
        if load.body != "noop" or load.processes:
            raise NotImplementedError
        return [sys.executable, "-m", module_name(), "run"]

    def autovacuum(self) -> None:
        connect().execute("VACUUM ANALYZE job")


def run() -> None:
    """Be the worker, until nothing is left."""
    connection = connect()
    finished: list[int] = []
    while True:
        rows = connection.execute(_FINISH_AND_CLAIM, [finished, BATCH]).fetchall()
        finished = [job_id for (job_id,) in rows]
        if not finished:
            return
        for _ in finished:
            bodies.noop()


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run()
    else:
        serve(PsycopgFloor())
