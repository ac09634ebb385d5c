# /// script
# requires-python = ">=3.12,<3.13"
# dependencies = ["uuid-utils"]
# ///
"""What SQLite and sqlite3 can do at all: no queue, only the statements of one.

A table as small as possible, and a loop that finishes 500 jobs and claims the next 500
in one transaction. It has no retries, no results, no priorities, no wake-up, and it
loses what it holds when it dies: a floor under the time that a queue takes.

Durability is that of django-bgtasks: who enqueues waits for the disk, the worker does
not.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from functools import lru_cache
from pathlib import Path

from uuid_utils.compat import uuid7

from benchmarks import bodies, floor_rows
from benchmarks.system import Load, System, module_name, serve

LABEL = "bare sqlite3 loop (floor)"
JOBS = 300_000
BATCH = 500
READY, RUNNING, FINISHED = range(3)

_TABLE = f"""
    PRAGMA journal_mode = WAL;
    CREATE TABLE job (
        id INTEGER PRIMARY KEY, status INTEGER NOT NULL DEFAULT {READY});
    CREATE INDEX ready ON job (id) WHERE status = {READY};
    {floor_rows.TABLE.format(uuid="char(32)", json="text", time="datetime")}
"""
_FINISH = f"UPDATE job SET status = {FINISHED} WHERE id = ?"
_CLAIM = f"""
    UPDATE job SET status = {RUNNING} WHERE id IN (
        SELECT id FROM job WHERE status = {READY} ORDER BY id LIMIT ?)
    RETURNING id
"""


class SQLiteFloor(System):
    def reset(self) -> None:
        self.remove()
        _connect().executescript(_TABLE)

    def remove(self) -> None:
        for file in _file().parent.glob(f"{_file().name}*"):
            file.unlink()

    def enqueue_one(self, body: str, *args: int) -> None:
        """A row such as ours: what it takes to write it, and nothing around it."""
        row = floor_rows.new_row(uuid7().hex)
        _connect().execute(floor_rows.insert("?"), row)

    def enqueue_many(self, body: str, count: int) -> None:
        connection = _connect()
        connection.execute("BEGIN IMMEDIATE")
        rows = ((READY,) for _ in range(count))
        connection.executemany("INSERT INTO job (status) VALUES (?)", rows)
        connection.execute("COMMIT")

    def unsettled(self) -> int:
        query = f"SELECT count(*) FROM job WHERE status < {FINISHED}"
        return _connect().execute(query).fetchone()[0]

    def worker_command(self, load: Load) -> list[str]:
        if load.body != "noop" or load.processes:
            raise NotImplementedError
        return [sys.executable, "-m", module_name(), "run"]

    def server(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}"


def _file() -> Path:
    return Path(os.environ["BENCH_DIR"]) / "db.sqlite3"


@lru_cache
def _connect() -> sqlite3.Connection:
    return sqlite3.connect(_file(), timeout=20, autocommit=True)


def run() -> None:
    """Be the worker, until nothing is left."""
    connection = _connect()
    connection.execute("PRAGMA synchronous = NORMAL")
    finished: list[tuple[int]] = []
    while True:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_FINISH, finished)
        finished = connection.execute(_CLAIM, [BATCH]).fetchall()
        connection.execute("COMMIT")
        if not finished:
            return
        for _ in finished:
            bodies.noop()


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run()
    else:
        serve(SQLiteFloor())
