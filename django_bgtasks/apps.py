from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class BackgroundTasksConfig(AppConfig):
    name = "django_bgtasks"
    verbose_name = _("Background tasks")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django_bgtasks import checks, housekeeping, signals  # noqa: F401, PLC0415 (they register themselves, which needs loaded apps)
        from django_bgtasks.conf import get_settings  # noqa: PLC0415 (as above)

        # An ImportError inside a tasks module is the project's to see: let it rise.
        autodiscover_modules("tasks")
        for module in get_settings().imports:
            import_module(module)
