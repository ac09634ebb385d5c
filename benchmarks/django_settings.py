"""What the settings of our and others' Django projects have in common.

Workers import it, so that it must weigh nothing.
"""

from __future__ import annotations

from benchmarks import services

POSTGRESQL = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": services.database_name(),
    "HOST": services.POSTGRES_HOST,
    "PORT": services.POSTGRES_PORT,
    "USER": services.POSTGRES_USER,
    "PASSWORD": services.POSTGRES_PASSWORD,
}
#: Connections stay open ("Persistent connections" in Django's page on databases).
PERSISTENT_POSTGRESQL = {**POSTGRESQL, "CONN_MAX_AGE": None}
SECRET_KEY = "only for measuring"  # noqa: S105 (it signs nothing of worth)
