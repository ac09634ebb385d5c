"""Where the tables of this app are, if not beside all others."""

from __future__ import annotations

from typing import Any

from django_bgtasks.conf import get_settings

_OURS = "django_bgtasks"


class JobsRouter:
    """Keeps this app's tables in the database that ``BGTASKS["DATABASE"]`` names.

    For ``DATABASE_ROUTERS``; see
    https://docs.djangoproject.com/en/stable/topics/db/multi-db/. Of other apps' tables
    it says nothing.
    """

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        """The alias for one of our models; None leaves it to other routers."""
        return get_settings().database if model._meta.app_label == _OURS else None

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        """The same."""
        return self.db_for_read(model)

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """Whether our tables belong into ``db``; None for those of other apps."""
        alias = get_settings().database
        return None if alias is None or app_label != _OURS else db == alias
