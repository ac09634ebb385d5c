"""Where the servers are: the same environment variables as for the test suite."""

from __future__ import annotations

import os
from pathlib import Path

POSTGRES_HOST = os.environ.get("POSTGRES_HOST", "127.0.0.1")
POSTGRES_PORT = os.environ.get("POSTGRES_PORT", "5432")
POSTGRES_USER = os.environ.get("POSTGRES_USER", "postgres")
POSTGRES_PASSWORD = os.environ.get("POSTGRES_PASSWORD", "")

MYSQL_HOST = os.environ.get("MYSQL_HOST", "127.0.0.1")
MYSQL_PORT = os.environ.get("MYSQL_PORT", "3306")
MYSQL_USER = os.environ.get("MYSQL_USER", "root")
MYSQL_PASSWORD = os.environ.get("MYSQL_PASSWORD", "")

REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/9")
RABBITMQ_URL = os.environ.get("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//")


def database_name() -> str:
    """What a system's database on a server is called; the suite makes and drops it."""
    return "bench_" + Path(os.environ["BENCH_DIR"]).name
