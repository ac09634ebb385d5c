"""A project as small as it can be; ``BENCH_DATABASE`` chooses its database."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks import django_settings, services

DATABASES = {
    "default": {
        "postgresql": django_settings.POSTGRESQL,
        # As docs/how-to/databases.md recommends it.
        "sqlite": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": Path(os.environ["BENCH_DIR"]) / "db.sqlite3",
            "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
        },
        "mariadb": {
            "ENGINE": "django.db.backends.mysql",
            "NAME": services.database_name(),
            "HOST": services.MYSQL_HOST,
            "PORT": services.MYSQL_PORT,
            "USER": services.MYSQL_USER,
            "PASSWORD": services.MYSQL_PASSWORD,
        },
    }[os.environ["BENCH_DATABASE"]]
}
SECRET_KEY = django_settings.SECRET_KEY
INSTALLED_APPS = ["django_bgtasks"]
BGTASKS = {"IMPORTS": ["benchmarks.systems.bgtasks.tasks"]}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    # Which Django sets to INFO itself.
    "loggers": {"django": {"level": "WARNING"}},
}
