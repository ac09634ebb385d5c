"""Settings of the example site. SQLite out of the box; DATABASE_URL picks another."""

import os
from pathlib import Path

import dj_database_url
import django

from site_config.secret_key import local_secret_key

BASE_DIR = Path(__file__).resolve().parent.parent

# Everything the site writes goes below this directory.
DATA_DIR = Path(os.environ.get("DATA_DIR", BASE_DIR)).resolve()

DEBUG = os.environ.get("DEBUG", "1") not in {"0", "false", "no"}
SECRET_KEY = os.environ.get("SECRET_KEY") or local_secret_key(DATA_DIR / ".secret_key")
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_bgtasks",
    "jobs",
    "pictures",
    "newsletter",
    "sales",
    "webhooks",
]

if django.VERSION < (6, 0):
    # Django 5.2 has no Tasks framework of its own; this is its backport.
    INSTALLED_APPS.append("django_tasks")

# @background needs no TASKS setting. With this one, tasks written with Django's own
# @task (also those of third-party apps) land in the same table and the same worker.
TASKS = {"default": {"BACKEND": "django_bgtasks.backend.DatabaseBackend"}}

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

# Periodic jobs, which the worker of the demo enqueues when they are due. One more is
# declared beside its task, in pictures/tasks.py.
BGTASKS = {
    # Whoever has it may see /bgtasks/health/ and /bgtasks/metrics/; without one, nobody.
    "TOKEN": os.environ.get("BGTASKS_TOKEN"),
    "PERIODIC": {
        "report-on-new-imports": {
            "task": "sales.tasks.report_on_new_imports",
            "every": 60,
            "overlap": "skip",
        },
        "announce-an-order": {
            "task": "webhooks.tasks.announce_order",
            "every": 60,
        },
        "clear-outbox": {
            "task": "newsletter.tasks.clear_outbox",
            "cron": "30 3 * * *",
            "timezone": "Europe/Berlin",
            "kwargs": {"days": 7},
        },
    },
}

ROOT_URLCONF = "site_config.urls"
WSGI_APPLICATION = "site_config.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

if "DATABASE_URL" in os.environ:
    DATABASES = {"default": dj_database_url.config()}
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": DATA_DIR / "db.sqlite3",
        },
    }

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        # Readers never wait for the writer.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        # A transaction that begins as a reader and then wants to write fails at once
        # when another process has written meanwhile; one that begins as a writer waits.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
    }

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]

# Only files made by the site itself are served. What visitors upload stays private.
FILES_DIR = DATA_DIR / "media"
MEDIA_ROOT = FILES_DIR / "public"
MEDIA_URL = "media/"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "private": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": FILES_DIR / "private"},
    },
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage",
    },
}

OUTBOX_DIR = FILES_DIR / "outbox"
DEFAULT_FROM_EMAIL = "The Example Gazette <gazette@example.com>"
if django.VERSION >= (6, 1):
    MAILERS = {
        "default": {
            "BACKEND": "django.core.mail.backends.filebased.EmailBackend",
            "OPTIONS": {"file_path": OUTBOX_DIR},
        },
    }
else:
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    EMAIL_FILE_PATH = OUTBOX_DIR

# Where the webhook task finds this site: the port demo.py chose, or runserver's own.
SITE_URL = os.environ.get("SITE_URL", "http://127.0.0.1:8000")
WEBHOOK_FAILURE_RATE = float(os.environ.get("WEBHOOK_FAILURE_RATE", "0.6"))


def is_no_planned_failure(record):
    """The endpoint of the webhooks answers 500 on purpose. The worker tells of it."""
    return bool(record.exc_info) or "/webhooks/receive/" not in record.getMessage()


LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "unplanned": {
            "()": "django.utils.log.CallbackFilter",
            "callback": is_no_planned_failure,
        },
    },
    "formatters": {"plain": {"format": "{message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "loggers": {
        "django_bgtasks": {"handlers": ["console"], "level": "INFO"},
        # Django announces the same jobs once more (5.2's backport as django_tasks).
        "django.tasks": {"level": "WARNING"},
        "django_tasks": {"level": "WARNING"},
        # Open pages ask for statuses every second; only failures are worth a line.
        "django.server": {
            "handlers": ["console"],
            "level": "WARNING",
            "filters": ["unplanned"],
        },
        "django.request": {"filters": ["unplanned"]},
    },
}
