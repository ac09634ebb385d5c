# /// script
# requires-python = ">=3.12,<3.13"
# dependencies = ["django-bgtasks"]
# ///
"""django-bgtasks with SQLite: this checkout, set up as its documentation says."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["BENCH_DATABASE"] = "sqlite"

from django.db import connection

from benchmarks.system import serve
from benchmarks.systems.bgtasks.system import BGTasks

LABEL = "django-bgtasks + SQLite"
PACKAGE = "django-bgtasks"
JOBS = 100_000
PROCESSES = (1, 2)


class BGTasksSQLite(BGTasks):
    def reset(self) -> None:
        self.remove()
        super().reset()
        with connection.cursor() as cursor:
            # As the first worker leaves the file for good.
            cursor.execute("PRAGMA journal_mode = WAL")

    def remove(self) -> None:
        for file in Path(os.environ["BENCH_DIR"]).glob("db.sqlite3*"):
            file.unlink()


if __name__ == "__main__":
    # One process: it is one writer at a time anyway.
    serve(BGTasksSQLite(processes=1, nth_id="%s || printf('%%012d', n)"))
