"""Queues: which are paused, and pausing them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.auth import get_permission_codename
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy

from django_bgtasks.admin.display import badge, moment
from django_bgtasks.admin.reporting import log, tell
from django_bgtasks.models import Queue
from django_bgtasks.store import queues

WERE_PAUSED = ngettext_lazy(
    "%(count)d queue was paused.", "%(count)d queues were paused.", "count"
)
WERE_RESUMED = ngettext_lazy(
    "%(count)d queue was resumed.", "%(count)d queues were resumed.", "count"
)
PAUSED_ALREADY = ngettext_lazy(
    "%(count)d queue had been paused before.",
    "%(count)d queues had been paused before.",
    "count",
)
NOT_PAUSED = ngettext_lazy(
    "%(count)d queue was not paused.", "%(count)d queues were not paused.", "count"
)
PAUSED_STAY = ngettext_lazy(
    "%(count)d paused queue cannot be deleted. Resume it first.",
    "%(count)d paused queues cannot be deleted. Resume them first.",
    "count",
)

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Queue]
else:
    _Base = admin.ModelAdmin


@admin.register(Queue)
class QueueAdmin(_Base):
    """Queues need no row. One is added by name so that the queue can be paused."""

    list_display = ("name", "state", "paused_since")
    search_fields = ("name",)
    actions = ("pause_selected", "resume_selected", "delete_selected")

    class Media:
        css = {"all": ("django_bgtasks/admin.css",)}

    def get_fields(self, request: HttpRequest, obj: Queue | None = None) -> Any:
        return ("name",) if obj is None else ("name", "state", "paused_since")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return () if obj is None else ("name", "state", "paused_since")

    # -- who may

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing is edited. Who has the permission may pause and resume."""
        return False

    def has_pause_permission(self, request: HttpRequest) -> bool:
        """Asked by Django for actions with ``permissions=["pause"]``."""
        codename = get_permission_codename("change", self.opts)
        return request.user.has_perm(f"{self.opts.app_label}.{codename}")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A paused queue stays: without its row it would not be paused any more."""
        if obj is not None and obj.paused_at is not None:
            return False
        return super().has_delete_permission(request, obj)

    # -- columns

    @admin.display(description=gettext_lazy("state"))
    def state(self, queue: Queue) -> SafeString:
        if queue.paused_at is None:
            return badge("active", _("Active"))
        return badge("paused", _("Paused"))

    @admin.display(description=gettext_lazy("paused since"), ordering="paused_at")
    def paused_since(self, queue: Queue) -> str:
        return moment(queue.paused_at)

    # -- actions

    @admin.action(
        permissions=["pause"],
        description=gettext_lazy("Pause selected %(verbose_name_plural)s"),
    )
    def pause_selected(self, request: HttpRequest, queryset: QuerySet[Queue]) -> None:
        chosen = list(queryset)
        active = [queue for queue in chosen if queue.paused_at is None]
        for queue in active:
            queues.pause(queue.name)
        log(request, active, _("Paused."))
        tell(request, WERE_PAUSED, len(active))
        tell(request, PAUSED_ALREADY, len(chosen) - len(active), messages.WARNING)

    @admin.action(
        permissions=["pause"],
        description=gettext_lazy("Resume selected %(verbose_name_plural)s"),
    )
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Queue]) -> None:
        chosen = list(queryset)
        paused = [queue for queue in chosen if queue.paused_at is not None]
        for queue in paused:
            queues.resume(queue.name)
        log(request, paused, _("Resumed."))
        tell(request, WERE_RESUMED, len(paused))
        tell(request, NOT_PAUSED, len(chosen) - len(paused), messages.WARNING)

    @admin.action(
        permissions=["delete"],
        description=gettext_lazy("Delete selected %(verbose_name_plural)s"),
    )
    def delete_selected(
        self, request: HttpRequest, queryset: QuerySet[Queue]
    ) -> HttpResponse | None:
        """Django's own, which asks first, for all but paused queues."""
        active = queryset.filter(paused_at=None)
        paused = queryset.exclude(paused_at=None).count()
        tell(request, PAUSED_STAY, paused, messages.WARNING)
        return delete_selected(self, request, active) if active.exists() else None
