# /// script
# requires-python = ">=3.12,<3.13"
# dependencies = ["django-bgtasks[postgres]"]
# ///
"""django-bgtasks with PostgreSQL: this checkout, nothing set."""

from __future__ import annotations

import os

os.environ["BENCH_DATABASE"] = "postgresql"

from django.db import ProgrammingError, connection

from benchmarks.django_system import on_server
from benchmarks.system import serve
from benchmarks.systems.bgtasks.system import OnServer
from django_bgtasks.models import Job

LABEL = "django-bgtasks + PostgreSQL"
PACKAGE = "django-bgtasks"
JOBS = 100_000
PROCESSES = (1, 2)


class BGTasksPostgreSQL(OnServer):
    def hold_snapshot(self) -> None:
        connection.set_autocommit(False)
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SELECT count(*) FROM django_bgtasks_queue")

    def autovacuum(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"VACUUM ANALYZE {Job._meta.db_table}")

    def _make_database(self) -> None:
        try:
            on_server("CREATE DATABASE {name}")
        except ProgrammingError as error:
            if "already exists" not in str(error):
                raise


if __name__ == "__main__":
    serve(
        BGTasksPostgreSQL(
            processes=2,
            nth_id="(%s || lpad(n::text, 12, '0'))::uuid",
        )
    )
