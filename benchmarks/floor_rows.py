"""A row as wide as ours, for the floors to insert: one job, ready to run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

_COLUMNS = (
    "id", "task", "queue", "priority", "status", "args", "kwargs", "backend",
    "max_attempts", "enqueued_at", "attempt", "run_token", "on_lost",
)  # fmt: skip

#: With our columns and indexes; the types are the database's to name.
TABLE = """
    CREATE TABLE wide (
        id {uuid} PRIMARY KEY, task varchar(255) NOT NULL, queue varchar(100) NOT NULL,
        priority smallint NOT NULL, status varchar(16) NOT NULL, args {json} NOT NULL,
        kwargs {json} NOT NULL, backend varchar(64) NOT NULL,
        max_attempts integer NOT NULL, enqueued_at {time} NOT NULL,
        attempt integer NOT NULL, run_token integer NOT NULL,
        on_lost varchar(5) NOT NULL, run_after {time}, finished_at {time},
        worker {uuid});
    CREATE INDEX claim ON wide (queue, priority DESC, id) WHERE status = 'READY';
    CREATE INDEX due ON wide (run_after) WHERE status = 'SCHEDULED';
    CREATE INDEX running ON wide (worker) WHERE worker IS NOT NULL;
    CREATE INDEX finished ON wide (status, finished_at) WHERE finished_at IS NOT NULL;
"""


def insert(placeholder: str) -> str:
    """The statement that inserts a row, in a driver's own style."""
    values = ", ".join([placeholder] * len(_COLUMNS))
    return f"INSERT INTO wide ({', '.join(_COLUMNS)}) VALUES ({values})"


def new_row(key: Any) -> tuple[Any, ...]:
    """The values of one more row."""
    now = datetime.now(UTC).isoformat(" ")  # noqa: TID251 (without Django)
    task = "benchmarks.bodies.noop"
    return (
        *(key, task, "default", 0, "READY", "[]", "{}", "default", 3, now, 0, 0),
        "retry",
    )
