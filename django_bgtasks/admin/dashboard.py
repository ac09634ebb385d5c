"""The dashboard: everything at a glance, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.forms import Media
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from django_bgtasks.admin import job_deeds, steering
from django_bgtasks.admin.dashboard_figures import WINDOWS, Wanted, look, wanted
from django_bgtasks.admin.dashboard_json import as_json
from django_bgtasks.admin.dashboard_page import page, table_headings
from django_bgtasks.admin.job_actions import ACTION_LIMIT, leave_to_a_job
from django_bgtasks.admin.job_deeds import Options
from django_bgtasks.admin.permissions import RETRY, may
from django_bgtasks.models import Dashboard, Job
from django_bgtasks.models.job import Status
from django_bgtasks.store import failures
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.selection import Selection

# Not a Media of the ModelAdmin, with which all of the scripts for lists and forms come.
MEDIA = Media(
    css={
        "all": (
            "django_bgtasks/vendor/uplot/uPlot.min.css",
            "django_bgtasks/admin.css",
            "django_bgtasks/dashboard.css",
        )
    },
    js=(
        "django_bgtasks/vendor/uplot/uPlot.iife.min.js",
        "django_bgtasks/dashboard.js",
        "django_bgtasks/live.js",
    ),
)

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Dashboard]
else:
    _Base = admin.ModelAdmin


@admin.register(Dashboard)
class DashboardAdmin(_Base):
    """One page, in the place of a list."""

    # -- who may

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may view jobs: a dashboard has no rows and no permissions of its own."""
        return may(request, "view_job")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    # -- its addresses

    def get_urls(self) -> list[URLPattern]:
        """Not those of rows, which there are none of."""
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        view = self.admin_site.admin_view
        return [
            path("", view(self.changelist_view), name=f"{name}_changelist"),
            path("data/", view(self.data_view), name=f"{name}_data"),
            path("retry/", view(self.retry_view), name=f"{name}_retry"),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": _("Dashboard"),
            "opts": self.opts,
            # The template extends that of a list, which asks these for its name.
            "cl": {"opts": self.opts},
            "actions_on_top": True,
            "media": MEDIA,
            "headings": table_headings(),
            **page(look(request, _wanted_or_default(request)), request),
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        template = "admin/django_bgtasks/dashboard/dashboard.html"
        return TemplateResponse(request, template, context)

    @method_decorator(require_GET)
    def data_view(self, request: HttpRequest) -> HttpResponse:
        """The same as JSON."""
        if not self.has_view_permission(request):
            return JsonResponse({"error": _("You may not view jobs.")}, status=403)
        try:
            asked = wanted(request.GET.dict())
        except ValueError as error:
            return JsonResponse({"error": str(error)}, status=400)
        return JsonResponse(as_json(look(request, asked)))

    # -- retrying

    @method_decorator(require_POST)
    def retry_view(self, request: HttpRequest) -> HttpResponse:
        """What the buttons "Retry all like this" post to."""
        if not (self.has_view_permission(request) and may(request, RETRY)):
            raise PermissionDenied
        exception, _space, task = request.POST.get("kind", "").partition(" ")
        now = get_engine().now()
        jobs = failures.of_kind(task, exception, now)
        wish = job_deeds.RETRY.wish(Options())
        if exception and len(jobs) > ACTION_LIMIT:
            kind = Selection(
                status=(Status.FAILED,),
                task=task,
                exception=exception,
                # Who presses the button has seen no older ones.
                finished_after=now - failures.RECENT,
            )
            return leave_to_a_job(request, self.admin_site, wish, kind)
        done = steering.do(request, wish, Job.objects.filter(pk__in=jobs))
        job_deeds.RETRY.tell(request, done)
        if not jobs:
            text = _("There are no such failures any more.")
            self.message_user(request, text, messages.WARNING)
        return HttpResponseRedirect(self._address(request))

    def _address(self, request: HttpRequest) -> str:
        address = reverse(
            f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist",
            current_app=self.admin_site.name,
        )
        asked = {
            name: value
            for name in ("window", "queue")
            if (value := request.POST.get(name, ""))
        }
        return f"{address}?{urlencode(asked)}" if asked else address


def _wanted_or_default(request: HttpRequest) -> Wanted:
    """What the address asks for; of what cannot be understood, the default."""
    window = request.GET.get("window", "1h")
    return Wanted(
        window=WINDOWS.get(window, WINDOWS["1h"]),
        queue=request.GET.get("queue") or None,
    )
