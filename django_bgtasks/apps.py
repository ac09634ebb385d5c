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
        from django_bgtasks import (  # noqa: PLC0415 (some register themselves, which needs loaded apps)
            checks,  # noqa: F401 (it registers itself)
            housekeeping,  # noqa: F401 (likewise)
            middleware,
            signals,  # noqa: F401 (likewise)
        )
        from django_bgtasks.conf import get_settings  # noqa: PLC0415 (as above)
        from django_bgtasks.encoding import get_encoder  # noqa: PLC0415 (as above)

        # An ImportError inside a tasks module is the project's to see: let it rise.
        autodiscover_modules("tasks")
        for module in get_settings().imports:
            import_module(module)
        # They raise if the settings name none.
        get_encoder()
        middleware.installed()
