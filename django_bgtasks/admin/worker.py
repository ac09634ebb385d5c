"""Workers: which there are, and when each was last heard of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import (
    DateTimeField,
    DurationField,
    ExpressionWrapper,
    F,
    QuerySet,
    Value,
)
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_bgtasks.admin.display import moment
from django_bgtasks.models import Worker
from django_bgtasks.store.engines import get_engine
from django_bgtasks.wording import duration

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Worker]
else:
    _Base = admin.ModelAdmin


@admin.register(Worker)
class WorkerAdmin(_Base):
    """Workers come and go by themselves; here they are only looked at."""

    list_display = (
        "hostname",
        "pid",
        "queue_names",
        "threads",
        "started",
        "heartbeat_age",
    )
    fields = readonly_fields = ("id", *list_display)

    class Media:
        css = {"all": ("django_bgtasks/admin.css",)}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Worker]:
        # By the clock that heartbeats are written with, whatever this host's says.
        now = Value(get_engine().now(), DateTimeField())
        age = ExpressionWrapper(now - F("heartbeat_at"), DurationField())
        return super().get_queryset(request).annotate(age=age)

    @admin.display(description=gettext_lazy("queues"))
    def queue_names(self, worker: Worker) -> str:
        return ", ".join(worker.queues) or _("all")

    @admin.display(description=gettext_lazy("started"), ordering="started_at")
    def started(self, worker: Worker) -> str:
        return moment(worker.started_at)

    @admin.display(description=gettext_lazy("last heartbeat"), ordering="heartbeat_at")
    def heartbeat_age(self, worker: Any) -> str:
        return _("{time} ago").format(time=duration(worker.age))
