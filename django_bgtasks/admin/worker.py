"""Workers: which there are, what each is at, and what it was told."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import (
    Count,
    DateTimeField,
    DurationField,
    ExpressionWrapper,
    F,
    IntegerField,
    OuterRef,
    QuerySet,
    Subquery,
    Value,
)
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_bgtasks.admin.clean_up import CleanUp, is_something_left
from django_bgtasks.admin.display import NOTHING, moment, worker_badge
from django_bgtasks.admin.permissions import may_view
from django_bgtasks.admin.worker_actions import WorkerActions
from django_bgtasks.conf import get_settings
from django_bgtasks.models import Job, Worker
from django_bgtasks.models.worker import Instruction
from django_bgtasks.store.engines import get_engine
from django_bgtasks.wording import duration

#: Jobs of a worker that its page shows.
JOB_LIMIT = 100


@admin.register(Worker)
class WorkerAdmin(CleanUp, WorkerActions):
    """Workers come and go by themselves; here they are looked at and steered."""

    list_display = (
        "hostname",
        # What one looks for first stays in sight on a narrow screen.
        "state",
        "pid",
        "jobs_now",
        "queue_names",
        "threads",
        "memory_taken",
        "uptime",
        "heartbeat_age",
        "version",
    )
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("hostname", "pid", "state", "version"),
                    ("queue_names", "threads", "memory_taken"),
                    ("started", "uptime", "heartbeat_age"),
                    "id",
                )
            },
        ),
    )
    readonly_fields = ("id", "started", *list_display)

    class Media:
        css = {"all": ("django_bgtasks/admin.css",)}
        js = ("django_bgtasks/live.js",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Worker]:
        # By the clock that heartbeats are written with, whatever this host's says.
        now = Value(get_engine().now(), DateTimeField())
        jobs = Job.objects.filter(worker=OuterRef("pk")).order_by().values("worker")
        count = Subquery(jobs.annotate(count=Count("pk")).values("count"))
        return (
            super()
            .get_queryset(request)
            .annotate(
                age=ExpressionWrapper(now - F("heartbeat_at"), DurationField()),
                lived=ExpressionWrapper(now - F("started_at"), DurationField()),
                job_count=Coalesce(count, 0, output_field=IntegerField()),
            )
        )

    # -- the list

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        note = {"is_something_left": is_something_left()}
        return super().changelist_view(request, {**note, **(extra_context or {})})

    # -- the page of one

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        worker = kwargs["obj"]
        can_be_told = self.has_steer_permission(request) and (
            not _is_lost(worker) and worker.instruction != Instruction.STOP
        )
        context |= {
            "jobs": _jobs(worker) if may_view(request, Job) else None,
            "job_count": worker.job_count,
            "job_limit": JOB_LIMIT,
            "orders": _orders(worker) if can_be_told else [],
        }
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=gettext_lazy("state"), ordering="instruction")
    def state(self, worker: Any) -> SafeString:
        return worker_badge(is_live=not _is_lost(worker), told=worker.instruction)

    @admin.display(description=gettext_lazy("jobs now"), ordering="job_count")
    def jobs_now(self, worker: Any) -> str:
        return str(worker.job_count)

    @admin.display(description=gettext_lazy("queues"))
    def queue_names(self, worker: Worker) -> str:
        return ", ".join(worker.queues) or _("all")

    @admin.display(description=gettext_lazy("memory"), ordering="memory")
    def memory_taken(self, worker: Worker) -> str:
        return NOTHING if worker.memory is None else filesizeformat(worker.memory)

    @admin.display(description=gettext_lazy("started"), ordering="started_at")
    def started(self, worker: Worker) -> str:
        return moment(worker.started_at)

    @admin.display(description=gettext_lazy("uptime"), ordering="-started_at")
    def uptime(self, worker: Any) -> str:
        return duration(worker.lived)

    @admin.display(description=gettext_lazy("last heartbeat"), ordering="heartbeat_at")
    def heartbeat_age(self, worker: Any) -> str:
        return _("{time} ago").format(time=duration(worker.age))


def _is_lost(worker: Any) -> bool:
    return bool(worker.age >= get_settings().heartbeat_timeout)


def _orders(worker: Worker) -> list[tuple[str, str]]:
    """What its page has buttons for: where each leads, and what it says."""
    labels = [
        ("quiet", _("Quiet")),
        ("drain", _("Drain")),
        ("stop", _("Stop")),
    ]
    if worker.instruction:
        labels = [("resume", _("Resume"))] + [
            (name, label) for name, label in labels if name != worker.instruction
        ]
    return [
        (reverse(f"admin:django_bgtasks_worker_{name}", args=[worker.pk]), label)
        for name, label in labels
    ]


def _jobs(worker: Any) -> list[dict[str, Any]]:
    """What it has claimed, what began first."""
    now = get_engine().now()
    rows = Job.objects.filter(worker=worker.pk).order_by("started_at", "pk")
    columns = ("task", "queue", "attempt", "max_attempts", "started_at")
    return [
        {
            "url": reverse("admin:django_bgtasks_job_change", args=[job.pk]),
            "task": job.task,
            "queue": job.queue,
            "attempt": _("{number} of {allowed}").format(
                number=job.attempt, allowed=job.max_attempts
            ),
            "started": moment(job.started_at),
            "runs_for": duration(now - (job.started_at or now)),
        }
        for job in rows.only(*columns)[:JOB_LIMIT]
    ]
