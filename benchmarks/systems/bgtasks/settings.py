"""A project as small as it can be; ``BENCH_DATABASE`` chooses its database."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks import services

FOLDER = Path(os.environ["BENCH_DIR"])

DATABASES = {
    "default": {
        "postgresql": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": services.DATABASE_PREFIX + FOLDER.name,
            "HOST": services.POSTGRES_HOST,
            "PORT": services.POSTGRES_PORT,
            "USER": services.POSTGRES_USER,
            "PASSWORD": services.POSTGRES_PASSWORD,
        },
        # As docs/how-to/databases.md recommends it.
        "sqlite": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": FOLDER / "db.sqlite3",
            "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
        },
        "mariadb": {
            "ENGINE": "django.db.backends.mysql",
            "NAME": services.DATABASE_PREFIX + FOLDER.name,
            "HOST": services.MYSQL_HOST,
            "PORT": services.MYSQL_PORT,
            "USER": services.MYSQL_USER,
            "PASSWORD": services.MYSQL_PASSWORD,
        },
    }[os.environ["BENCH_DATABASE"]]
}

INSTALLED_APPS = ["django_bgtasks"]
BGTASKS = {"IMPORTS": ["benchmarks.systems.bgtasks.tasks"]}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SECRET_KEY = "only for measuring"  # noqa: S105 (it signs nothing)
USE_TZ = True
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    # Which Django sets to INFO itself.
    "loggers": {"django": {"level": "WARNING"}},
}
