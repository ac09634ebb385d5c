# /// script
# requires-python = ">=3.12,<3.13"
# dependencies = ["django-bgtasks[mysql]"]
# ///
"""django-bgtasks with MariaDB: this checkout, nothing set."""

from __future__ import annotations

import os
from typing import Any

os.environ["BENCH_DATABASE"] = "mariadb"

from django.db import connection

from benchmarks.django_system import on_server
from benchmarks.system import serve
from benchmarks.systems.bgtasks.system import OnServer

LABEL = "django-bgtasks + MariaDB"
PACKAGE = "django-bgtasks"
JOBS = 30_000
PROCESSES = (1, 2)


class BGTasksMariaDB(OnServer):
    def _add_copies(
        self, count: int, first_digits: str | None = None, **columns: Any
    ) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET max_recursive_iterations = %s", [count])
        super()._add_copies(count, first_digits, **columns)

    def _make_database(self) -> None:
        on_server("CREATE DATABASE IF NOT EXISTS {name}")


if __name__ == "__main__":
    serve(BGTasksMariaDB(processes=2, nth_id="concat(%s, lpad(n, 12, '0'))"))
