"""What can be told to workers from the admin: who may, by which way, what is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy, ngettext_lazy
from django.views.decorators.http import require_POST

from django_bgtasks.admin.permissions import STEER, may
from django_bgtasks.admin.reporting import back_to_page, log, tell
from django_bgtasks.models import Worker
from django_bgtasks.models.worker import Instruction
from django_bgtasks.store import workers
from django_bgtasks.store.engines import get_engine

TELL_QUIET = ngettext_lazy(
    "%(count)d worker claims nothing more, and goes on with what it has.",
    "%(count)d workers claim nothing more, and go on with what they have.",
    "count",
)
TELL_RESUME = ngettext_lazy(
    "%(count)d worker claims again.", "%(count)d workers claim again.", "count"
)
TELL_DRAIN = ngettext_lazy(
    "%(count)d worker claims nothing more, and ends when its jobs have.",
    "%(count)d workers claim nothing more, and end when their jobs have.",
    "count",
)
TELL_STOP = ngettext_lazy("%(count)d worker stops.", "%(count)d workers stop.", "count")
NOT_TOLD = ngettext_lazy(
    "%(count)d worker was left as it was: it is at that already, is stopping, or has "
    "ended.",
    "%(count)d workers were left as they were: they are at that already, are stopping, "
    "or have ended.",
    "count",
)


class Order(NamedTuple):
    """What can be told: to the row, to the history, and to who has pressed it."""

    instruction: str
    logged: Any
    told: Any


ORDERS = {
    "quiet": Order(Instruction.QUIET, gettext_lazy("Told to be quiet."), TELL_QUIET),
    "resume": Order("", gettext_lazy("Told to claim again."), TELL_RESUME),
    "drain": Order(Instruction.DRAIN, gettext_lazy("Told to drain."), TELL_DRAIN),
    "stop": Order(Instruction.STOP, gettext_lazy("Told to stop."), TELL_STOP),
}

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Worker]
else:
    _Base = admin.ModelAdmin


class WorkerActions(_Base):
    """Quiet, resume, drain and stop: for selected workers and on a worker's page."""

    actions = ("quiet_selected", "resume_selected", "drain_selected", "stop_selected")

    # -- who may

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_steer_permission(self, request: HttpRequest) -> bool:
        """Asked by Django for actions with ``permissions=["steer"]``."""
        return may(request, STEER)

    # -- for selected workers

    @admin.action(
        permissions=["steer"],
        description=gettext_lazy("Quiet selected %(verbose_name_plural)s"),
    )
    def quiet_selected(self, request: HttpRequest, queryset: QuerySet[Worker]) -> None:
        self._tell(request, queryset, ORDERS["quiet"])

    @admin.action(
        permissions=["steer"],
        description=gettext_lazy("Let selected %(verbose_name_plural)s claim again"),
    )
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Worker]) -> None:
        self._tell(request, queryset, ORDERS["resume"])

    @admin.action(
        permissions=["steer"],
        description=gettext_lazy("Drain selected %(verbose_name_plural)s"),
    )
    def drain_selected(self, request: HttpRequest, queryset: QuerySet[Worker]) -> None:
        self._tell(request, queryset, ORDERS["drain"])

    @admin.action(
        permissions=["steer"],
        description=gettext_lazy("Stop selected %(verbose_name_plural)s"),
    )
    def stop_selected(self, request: HttpRequest, queryset: QuerySet[Worker]) -> None:
        self._tell(request, queryset, ORDERS["stop"])

    # -- on a worker's page

    def get_urls(self) -> list[URLPattern]:
        return [*(self._button(action) for action in ORDERS), *super().get_urls()]

    def _button(self, action: str) -> URLPattern:
        view = self.admin_site.admin_view(self._order_view(ORDERS[action]))
        name = f"{self.opts.app_label}_{self.opts.model_name}_{action}"
        return path(f"<uuid:pk>/{action}/", view, name=name)

    def _order_view(self, order: Order) -> Callable[..., HttpResponse]:
        """What the button of an order posts to."""

        @method_decorator(require_POST)
        def view(admin: WorkerActions, request: HttpRequest, pk: UUID) -> HttpResponse:
            if not admin.has_steer_permission(request):
                raise PermissionDenied
            worker = admin.get_queryset(request).filter(pk=pk)
            if not worker.exists():
                raise Http404
            admin._tell(request, worker, order)
            return back_to_page(admin, request, pk)

        return view.__get__(self)  # type: ignore[no-any-return]  # as a method of it

    # -- do it, and say what was done

    def _tell(
        self, request: HttpRequest, chosen: QuerySet[Worker], order: Order
    ) -> None:
        with get_engine().transaction():
            told, left = self._instruct(chosen, order)
            log(request, told, order.logged)
        tell(request, order.told, len(told))
        tell(request, NOT_TOLD, left, messages.WARNING)

    def _instruct(
        self, chosen: QuerySet[Worker], order: Order
    ) -> tuple[Sequence[Worker], int]:
        """Those to whom it is new, and how many others there are."""
        ids = list(chosen.order_by().values_list("pk", flat=True))
        told = [pk for pk in sorted(ids) if workers.instruct([pk], order.instruction)]
        return list(Worker.objects.filter(pk__in=told)), len(ids) - len(told)
