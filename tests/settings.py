"""Settings of the test suite; the database is chosen by BGTASKS_TEST_DB."""

import json
import os
from typing import Any

import django

DATABASE = os.environ.get("BGTASKS_TEST_DB", "sqlite")

_TEST = {"NAME": os.environ.get("BGTASKS_TEST_DB_NAME", "test_bgtasks")}
_CHOICES: dict[str, dict[str, Any]] = {
    "sqlite": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": "bgtasks.sqlite3",
        # A file: threads and worker processes have to see the same database.
        "TEST": {"NAME": f"{_TEST['NAME']}.sqlite3"},
    },
    "postgres": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "bgtasks",
        "HOST": os.environ.get("POSTGRES_HOST", "127.0.0.1"),
        "PORT": os.environ.get("POSTGRES_PORT", "5432"),
        "USER": os.environ.get("POSTGRES_USER", "postgres"),
        "PASSWORD": os.environ.get("POSTGRES_PASSWORD", ""),
        "TEST": _TEST,
    },
    "mariadb": {
        "ENGINE": "django.db.backends.mysql",
        "NAME": "bgtasks",
        "HOST": os.environ.get("MYSQL_HOST", "127.0.0.1"),
        "PORT": os.environ.get("MYSQL_PORT", "3306"),
        "USER": os.environ.get("MYSQL_USER", "root"),
        "PASSWORD": os.environ.get("MYSQL_PASSWORD", ""),
        "TEST": _TEST,
    },
}
DATABASES = {"default": _CHOICES[DATABASE]}
# A worker process that a test starts works on that test's database.
if "BGTASKS_DB_NAME" in os.environ:
    DATABASES["default"]["NAME"] = os.environ["BGTASKS_DB_NAME"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django_bgtasks.apps.BackgroundTasksConfig",
    "tests.sample.apps.SampleConfig",
    "tests.chaos.app.apps.ChaosConfig",
]
if django.VERSION < (6, 0):
    INSTALLED_APPS.append("django_tasks")

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"
SECRET_KEY = "only for tests"
# Log-ins by the hundred need no slow hash.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
USE_TZ = os.environ.get("BGTASKS_TEST_USE_TZ", "1") == "1"
TIME_ZONE = "Europe/Berlin"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# What tests tell the processes that they start.
if "BGTASKS_TEST_APP" in os.environ:
    INSTALLED_APPS.append(os.environ["BGTASKS_TEST_APP"])
for _alias, _changes in json.loads(
    os.environ.get("BGTASKS_TEST_DATABASES", "{}")
).items():
    DATABASES.setdefault(_alias, {}).update(_changes)
# Our own periodic jobs would come into the middle of some test.
BGTASKS = {"PERIODIC": {"django_bgtasks.prune": None, "django_bgtasks.roll_up": None}}
BGTASKS |= json.loads(os.environ.get("BGTASKS_TEST_SETTINGS", "{}"))
