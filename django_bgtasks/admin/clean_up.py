"""What dead workers left behind, and what is kept of finished jobs: a page to act on it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, ngettext_lazy
from django.views.decorators.http import require_GET, require_POST

from django_bgtasks.admin.display import moment
from django_bgtasks.admin.permissions import CANCEL, RETRY, may, may_view
from django_bgtasks.admin.reporting import log, tell
from django_bgtasks.conf import get_settings
from django_bgtasks.housekeeping import prune
from django_bgtasks.models import Job, Schedule, Worker
from django_bgtasks.models.job import Status
from django_bgtasks.rescuing import take_back
from django_bgtasks.store import maintenance, workers
from django_bgtasks.store.engines import get_engine
from django_bgtasks.wording import duration, number_up_to

#: Lost workers and their jobs that the page shows, and takes at a time.
WORKER_LIMIT = 50
JOB_LIMIT = 200
#: Jobs of one status that are counted, before it is only said that there are more.
COUNT_LIMIT = 10_000

#: To delete jobs, as Django calls it.
DELETE = "delete_job"

WERE_RESCUED = ngettext_lazy(
    "%(count)d job was taken back: it is tried again, or has failed, as its task says.",
    "%(count)d jobs were taken back: they are tried again, or have failed, as their "
    "tasks say.",
    "count",
)
WERE_FAILED = ngettext_lazy(
    "%(count)d job was taken back and has failed.",
    "%(count)d jobs were taken back and have failed.",
    "count",
)
WERE_REMOVED = ngettext_lazy(
    "%(count)d dead worker was removed.",
    "%(count)d dead workers were removed.",
    "count",
)

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Worker]
else:
    _Base = admin.ModelAdmin


class CleanUp(_Base):
    """A page beside the list of workers."""

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_clean_up"
        view = self.admin_site.admin_view
        return [
            path("clean-up/", view(self.clean_up_view), name=name),
            path("clean-up/rescue/", view(self.rescue_view), name=f"{name}_rescue"),
            path("clean-up/fail/", view(self.fail_view), name=f"{name}_fail"),
            path("clean-up/prune/", view(self.prune_view), name=f"{name}_prune"),
            *super().get_urls(),
        ]

    @method_decorator(require_GET)
    def clean_up_view(self, request: HttpRequest) -> HttpResponse:
        """The page."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        now = get_engine().now()
        left = _left_behind(now, with_jobs=may_view(request, Job))
        queue = _prune_queue()
        context = {
            **self.admin_site.each_context(request),
            "title": _("Clean up"),
            "opts": self.opts,
            "media": self.media,
            "left": left[:WORKER_LIMIT],
            "is_capped": len(left) > WORKER_LIMIT,
            "worker_limit": WORKER_LIMIT,
            "timeout": duration(get_settings().heartbeat_timeout),
            "may_rescue": may(request, RETRY),
            "may_fail": may(request, CANCEL),
            "may_prune": may(request, DELETE),
            "ages": _ages(),
            "prunable": number_up_to(COUNT_LIMIT, _count_prunable(now)),
            "can_prune": _has_worker(queue, now),
            "prune_queue": queue,
        }
        template = "admin/django_bgtasks/worker/clean_up.html"
        return TemplateResponse(request, template, context)

    # -- buttons

    @method_decorator(require_POST)
    def rescue_view(self, request: HttpRequest) -> HttpResponse:
        """What the button "Rescue" posts to."""
        if not may(request, RETRY):
            raise PermissionDenied
        told = _("Rescued: its worker was not heard of any more.")
        return self._take_back(request, told, WERE_RESCUED, may_go_on=True)

    @method_decorator(require_POST)
    def fail_view(self, request: HttpRequest) -> HttpResponse:
        """What the button "Fail" posts to."""
        if not may(request, CANCEL):
            raise PermissionDenied
        told = _("Failed: its worker was not heard of any more.")
        return self._take_back(request, told, WERE_FAILED, may_go_on=False)

    @method_decorator(require_POST)
    def prune_view(self, request: HttpRequest) -> HttpResponse:
        """What the button "Prune now" posts to: a worker does it."""
        if not may(request, DELETE):
            raise PermissionDenied
        result = prune.using(unique=True, queue_name=_prune_queue()).enqueue()
        job = Job.objects.filter(pk=result.id).first()
        text = _("A job is enqueued that prunes: {job}.")
        if result.was_deduplicated:
            text = _("There is a job already that prunes: {job}.")
        elif job is not None:
            log(request, [job], _("Enqueued by “prune now”."))
        self.message_user(
            request, format_html(text, job=_link(request, UUID(str(result.id))))
        )
        return self._back(request)

    def _take_back(
        self, request: HttpRequest, logged: str, told: Any, *, may_go_on: bool
    ) -> HttpResponse:
        among = _ids(request.POST.getlist("worker")[:WORKER_LIMIT])
        taken = take_back(among, may_go_on=may_go_on)
        log(request, taken.jobs, logged)
        log(request, taken.workers, _("Removed as dead."))
        tell(request, told, len(taken.jobs))
        tell(request, WERE_REMOVED, len(taken.workers))
        left = len(among) - len(taken.workers)
        if left or not among:
            text = ngettext(
                "{count} worker was left alone: it was heard of again, or somebody "
                "else has taken care of it.",
                "{count} workers were left alone: they were heard of again, or "
                "somebody else has taken care of them.",
                left,
            )
            text = text if among else _("No worker was selected.")
            self.message_user(request, text.format(count=left), messages.WARNING)
        return self._back(request)

    def _back(self, request: HttpRequest) -> HttpResponse:
        to_page = self.has_view_permission(request)
        name = "django_bgtasks_worker_clean_up" if to_page else "index"
        url = reverse(f"admin:{name}", current_app=self.admin_site.name)
        return HttpResponseRedirect(url)


def is_something_left() -> bool:
    """Whether there are rows of dead workers, or running jobs of none."""
    timeout = get_settings().heartbeat_timeout
    is_lost = workers.lost(get_engine().now(), timeout).exists()
    return is_lost or workers.orphans().exists()


def _left_behind(now: datetime, *, with_jobs: bool) -> list[dict[str, Any]]:
    """Lost workers, and ids that running jobs name and that have no row.

    One more than are shown, if there are more.
    """
    timeout = get_settings().heartbeat_timeout
    lost = list(workers.lost(now, timeout).order_by("pk")[: WORKER_LIMIT + 1])
    names: dict[UUID | None, tuple[str, timedelta | None]] = {
        worker.pk: (str(worker), now - worker.heartbeat_at) for worker in lost
    }
    rowless = workers.orphans().order_by().values_list("worker", flat=True).distinct()
    for pk in rowless[: WORKER_LIMIT + 1]:
        names[pk] = (str(pk), None)
    running = Job.objects.filter(worker__in=names)
    counted = running.order_by().values_list("worker").annotate(count=Count("pk"))
    counts = dict(counted)
    jobs = _jobs(names) if with_jobs else {}
    return [
        {
            "id": pk,
            "name": name,
            "silent": "" if silent is None else duration(silent),
            "count": counts.get(pk, 0),
            "jobs": jobs.get(pk, []),
            "hidden": counts.get(pk, 0) - len(jobs.get(pk, [])) if with_jobs else 0,
        }
        for pk, (name, silent) in names.items()
    ]


def _jobs(of: Collection[UUID | None]) -> dict[UUID | None, list[dict[str, Any]]]:
    """What these workers were at, as far as it is shown."""
    shown: dict[UUID | None, list[dict[str, Any]]] = {}
    rows = Job.objects.filter(worker__in=of).order_by("worker", "started_at", "pk")
    columns = ("task", "queue", "attempt", "max_attempts", "started_at", "worker")
    for job in rows.only(*columns)[:JOB_LIMIT]:
        shown.setdefault(job.worker, []).append(
            {
                "url": reverse("admin:django_bgtasks_job_change", args=[job.pk]),
                "task": job.task,
                "queue": job.queue,
                "attempt": _("{number} of {allowed}").format(
                    number=job.attempt, allowed=job.max_attempts
                ),
                "started": moment(job.started_at),
            }
        )
    return shown


def _ids(texts: Collection[str]) -> list[UUID]:
    ids = []
    for text in texts:
        try:
            ids.append(UUID(text))
        except ValueError:
            continue
    return ids


def _ages() -> list[tuple[str, str]]:
    """How long finished jobs are kept, by status, in words."""
    return [
        (
            str(Status(status).label),
            _("for ever") if age is None else duration(age),
        )
        for status, age in get_settings().retention.items()
    ]


def _count_prunable(now: datetime) -> int:
    retention = get_settings().retention
    return maintenance.count_prunable(now, retention, COUNT_LIMIT)


def _prune_queue() -> str:
    """The queue on which the periodic job prunes, which is where a worker should be."""
    rows = Schedule.objects.filter(pk=prune.path)
    return rows.values_list("queue_name", flat=True).first() or prune.queue_name


def _has_worker(queue: str, now: datetime) -> bool:
    """Whether a worker is alive that claims from the queue."""
    return any(
        workers.is_live(worker, now)
        and workers.is_claiming(worker.instruction)
        and workers.claims_from(worker.queues, queue)
        for worker in Worker.objects.all()
    )


def _link(request: HttpRequest, pk: UUID) -> Any:
    if not may_view(request, Job):
        return pk
    url = reverse("admin:django_bgtasks_job_change", args=[pk])
    return format_html('<a href="{}">{}</a>', url, pk)
