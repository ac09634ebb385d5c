"""What can be done to schedules from the admin: who may, by which way, what is said."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.utils import unquote
from django.contrib.auth import get_permission_codename
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy
from django.views.decorators.http import require_POST

from django_bgtasks.admin.reporting import back_to_page, log, tell
from django_bgtasks.backend import announce
from django_bgtasks.exceptions import InvalidSchedule
from django_bgtasks.models import Schedule, ScheduleQuerySet
from django_bgtasks.models.schedule import Source
from django_bgtasks.store import schedules

WERE_PAUSED = ngettext_lazy(
    "%(count)d schedule was paused.", "%(count)d schedules were paused.", "count"
)
PAUSED_ALREADY = ngettext_lazy(
    "%(count)d schedule had been paused before.",
    "%(count)d schedules had been paused before.",
    "count",
)
WERE_RESUMED = ngettext_lazy(
    "%(count)d schedule was resumed.", "%(count)d schedules were resumed.", "count"
)
NOT_PAUSED = ngettext_lazy(
    "%(count)d schedule was not paused.",
    "%(count)d schedules were not paused.",
    "count",
)
WERE_ENQUEUED = ngettext_lazy(
    "%(count)d job was enqueued.", "%(count)d jobs were enqueued.", "count"
)
DECLARED_STAY = ngettext_lazy(
    "%(count)d schedule is declared in settings or code and cannot be deleted here. "
    "Pause it instead.",
    "%(count)d schedules are declared in settings or code and cannot be deleted here. "
    "Pause them instead.",
    "count",
)

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Schedule]
else:
    _Base = admin.ModelAdmin


class ScheduleActions(_Base):
    """Run, pause, resume and delete: for selected schedules and on a schedule's page."""

    actions = ("run_selected", "pause_selected", "resume_selected", "delete_selected")

    # -- who may

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What settings or code declare is changed there."""
        return _is_own(obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What settings or code declare would come back."""
        return _is_own(obj) and super().has_delete_permission(request, obj)

    def has_steer_permission(self, request: HttpRequest) -> bool:
        """Whether its user may run, pause and resume schedules, whoever owns them.

        Asked by Django for actions with ``permissions=["steer"]``.
        """
        codename = get_permission_codename("change", self.opts)
        return request.user.has_perm(f"{self.opts.app_label}.{codename}")

    # -- for selected schedules

    @admin.action(
        permissions=["steer"],
        description=gettext_lazy("Run selected %(verbose_name_plural)s now"),
    )
    def run_selected(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        self._run(request, queryset)

    @admin.action(
        permissions=["steer"],
        description=gettext_lazy("Pause selected %(verbose_name_plural)s"),
    )
    def pause_selected(
        self, request: HttpRequest, queryset: QuerySet[Schedule]
    ) -> None:
        self._pause(request, queryset)

    @admin.action(
        permissions=["steer"],
        description=gettext_lazy("Resume selected %(verbose_name_plural)s"),
    )
    def resume_selected(
        self, request: HttpRequest, queryset: QuerySet[Schedule]
    ) -> None:
        self._resume(request, queryset)

    @admin.action(
        permissions=["delete"],
        description=gettext_lazy("Delete selected %(verbose_name_plural)s"),
    )
    def delete_selected(
        self, request: HttpRequest, queryset: QuerySet[Schedule]
    ) -> HttpResponse | None:
        """Django's own, which asks first, for those that the admin owns."""
        own = queryset.filter(source=Source.ADMIN)
        others = queryset.exclude(source=Source.ADMIN).count()
        tell(request, DECLARED_STAY, others, messages.WARNING)
        return delete_selected(self, request, own) if own.exists() else None

    # -- on a schedule's page

    def get_urls(self) -> list[URLPattern]:
        return [
            self._button("run", self.run_view),
            self._button("pause", self.pause_view),
            self._button("resume", self.resume_view),
            *super().get_urls(),
        ]

    def _button(self, action: str, view: Callable[..., HttpResponse]) -> URLPattern:
        name = f"{self.opts.app_label}_{self.opts.model_name}_{action}"
        route = f"<path:object_id>/{action}/"
        return path(route, self.admin_site.admin_view(view), name=name)

    @method_decorator(require_POST)
    def run_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What the button "Run now" posts to."""
        return self._steer(request, object_id, self._run)

    @method_decorator(require_POST)
    def pause_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What the button "Pause" posts to."""
        return self._steer(request, object_id, self._pause)

    @method_decorator(require_POST)
    def resume_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What the button "Resume" posts to."""
        return self._steer(request, object_id, self._resume)

    def _steer(
        self,
        request: HttpRequest,
        object_id: str,
        act: Callable[[HttpRequest, Iterable[Schedule]], None],
    ) -> HttpResponse:
        if not self.has_steer_permission(request):
            raise PermissionDenied
        schedule = self.get_object(request, unquote(object_id))
        if schedule is None:
            raise Http404
        act(request, [schedule])
        return back_to_page(self, request, schedule.pk)

    # -- do it, and say what was done

    def _run(self, request: HttpRequest, chosen: Iterable[Schedule]) -> None:
        enqueued = []
        for schedule in chosen:
            try:
                announce([schedules.run_now(schedule.pk)])
            except InvalidSchedule as error:
                text = _("{name} cannot be run: {problem}")
                text = text.format(name=schedule, problem=error)
                self.message_user(request, text, messages.ERROR)
            else:
                enqueued.append(schedule)
        log(request, enqueued, _("Run now."))
        tell(request, WERE_ENQUEUED, len(enqueued))

    def _pause(self, request: HttpRequest, chosen: Iterable[Schedule]) -> None:
        active, paused = _by_pause(chosen)
        _rows(active).pause()
        log(request, active, _("Paused."))
        tell(request, WERE_PAUSED, len(active))
        tell(request, PAUSED_ALREADY, len(paused), messages.WARNING)

    def _resume(self, request: HttpRequest, chosen: Iterable[Schedule]) -> None:
        active, paused = _by_pause(chosen)
        _rows(paused).resume()
        log(request, paused, _("Resumed."))
        tell(request, WERE_RESUMED, len(paused))
        tell(request, NOT_PAUSED, len(active), messages.WARNING)


def _is_own(schedule: Schedule | None) -> bool:
    """Whether it is the admin's; None stands for some schedule."""
    return schedule is None or schedule.source == Source.ADMIN


def _rows(chosen: Iterable[Schedule]) -> ScheduleQuerySet:
    return Schedule.objects.filter(pk__in=[schedule.pk for schedule in chosen])


def _by_pause(chosen: Iterable[Schedule]) -> tuple[list[Schedule], list[Schedule]]:
    """Those that are not paused, and those that are."""
    active: list[Schedule] = []
    paused: list[Schedule] = []
    for schedule in chosen:
        (active if schedule.paused_at is None else paused).append(schedule)
    return active, paused
