"""Jobs: the list, and the page of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets, quote
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_bgtasks.admin import steering
from django_bgtasks.admin.display import (
    NOTHING,
    badge,
    moment,
    one_line,
    pretty_json,
    progress_bar,
    recent_moment,
    visible_call,
)
from django_bgtasks.admin.job_actions import JobActions
from django_bgtasks.admin.job_list import (
    FILTERS,
    JobChangeList,
    address_without_blanks,
)
from django_bgtasks.admin.permissions import VIEW_ARGUMENTS, may
from django_bgtasks.models import Job, Schedule, Worker
from django_bgtasks.models.job import Status
from django_bgtasks.store.explain import explain
from django_bgtasks.tasks import find_task, secrets_of
from django_bgtasks.wording import duration

#: Attempts that a job's page shows; each has a traceback of up to 20,000 characters.
ATTEMPT_LIMIT = 50

#: Lines of fields that are shown only where they say something.
_WHY = "explanation"
_SCHEDULE = ("schedule_link", "tick")
_LABELS = ("label", "creator", "tag_list", "parent_link")
_NOTES = "notes"
_LIMITS = ("expires_on", "kept_for", "unique_note")
_SHOWN_IF: dict[object, Callable[[Job], bool]] = {
    _WHY: lambda job: not job.is_finished,
    _SCHEDULE: lambda job: job.schedule is not None,
    _LABELS: lambda job: bool(
        job.verbose_name or job.creator or job.tags or job.parent
    ),
    _NOTES: lambda job: bool(job.metadata),
    _LIMITS: lambda job: bool(job.expires_at or job.retention or job.unique_key),
}


@admin.register(Job)
class JobAdmin(JobActions):
    """Jobs are looked at and steered here, never made or edited."""

    list_display = (
        "short_id",
        # What one looks for first stays in sight on a narrow screen.
        "status_badge",
        "task_and_labels",
        "queue",
        "attempts_so_far",
        "timing",
        "last_error",
        "enqueued",
        "started",
        "priority",
    )
    list_filter = FILTERS
    # The list is in the order of its keys, by which it finds the next page.
    sortable_by = ()
    search_fields = ("id",)
    list_per_page = 50
    # "Show counts" would count the whole table, once for each choice.
    show_facets = admin.ShowFacets.NEVER

    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("task_name", "queue", "priority"),
                    ("status_now", "attempts_so_far", "progress_so_far"),
                    _WHY,
                    _LABELS,
                    _SCHEDULE,
                    "id",
                )
            },
        ),
        (
            gettext_lazy("Call"),
            {"fields": ("arguments", "keyword_arguments", "return_value", _NOTES)},
        ),
        (
            gettext_lazy("Times"),
            {
                "fields": (
                    (
                        "enqueued_on",
                        "not_before",
                        "started_on",
                        "finished_on",
                        "timing",
                    ),
                    _LIMITS,
                )
            },
        ),
        (
            gettext_lazy("Execution"),
            {"fields": (("worker_name", "time_limit", "backend", "run_token"),)},
        ),
    )
    readonly_fields = tuple(flatten_fieldsets(fieldsets))

    class Media:
        css = {"all": ("django_bgtasks/admin.css",)}

    # -- the list

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type:
        return JobChangeList

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        found = super().get_changelist_instance(request)
        found.search_help_text = _search_help(request)
        return found

    def changelist_view(
        self, request: HttpRequest, extra_context: Any = None
    ) -> HttpResponse:
        address = address_without_blanks(request) if request.method == "GET" else None
        if address is not None:
            return HttpResponseRedirect(address)
        return super().changelist_view(request, extra_context)

    @admin.display(description=gettext_lazy("id"))
    def short_id(self, job: Job) -> SafeString:
        # The time in milliseconds.
        return format_html(
            '<span class="bgtasks-id" title="{}">{}</span>', job.pk, str(job.pk)[:13]
        )

    @admin.display(description=gettext_lazy("task"))
    def task_and_labels(self, job: Job) -> SafeString:
        labels = format_html_join(
            "", ' <span class="bgtasks-tag">{}</span>', ((tag,) for tag in job.tags)
        )
        if not job.verbose_name:
            return format_html("{}{}", job.task, labels)
        return format_html(
            '{}{}<span class="bgtasks-note bgtasks-below">{}</span>',
            job.verbose_name,
            labels,
            job.task,
        )

    @admin.display(description=gettext_lazy("status"))
    def status_badge(self, job: Job) -> SafeString:
        return badge(job.status, job.get_status_display())

    @admin.display(description=gettext_lazy("attempt"))
    def attempts_so_far(self, job: Job) -> str:
        return _("{number} of {allowed}").format(
            number=job.attempt, allowed=job.max_attempts
        )

    @admin.display(description=gettext_lazy("enqueued"))
    def enqueued(self, job: Job) -> str:
        return recent_moment(job.enqueued_at)

    @admin.display(description=gettext_lazy("started"))
    def started(self, job: Job) -> str:
        return recent_moment(job.started_at)

    @admin.display(description=gettext_lazy("duration"))
    def timing(self, job: Job) -> str:
        if job.status == Status.SCHEDULED:
            return format_html(_("waits until {}"), recent_moment(job.run_after))
        ran = _ran_for(job)
        if ran is None:
            return NOTHING
        text = duration(ran)
        return text if job.is_finished else _("{time} so far").format(time=text)

    @admin.display(description=gettext_lazy("last error"))
    def last_error(self, job: Any) -> str:
        # What went wrong before it went well is on the job's page.
        if job.last_error is None or job.status == Status.SUCCESSFUL:
            return NOTHING
        return one_line(job.last_error)

    # -- the page of one

    def get_fieldsets(self, request: HttpRequest, obj: Job | None = None) -> Any:
        left_out = {
            line
            for line, is_shown in _SHOWN_IF.items()
            if obj is None or not is_shown(obj)
        }
        return [
            (
                title,
                {**rest, "fields": [x for x in rest["fields"] if x not in left_out]},
            )
            for title, rest in self.fieldsets
        ]

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        job: Job = kwargs["obj"]
        attempts = _attempts(job)
        context |= {
            "attempts": attempts[:ATTEMPT_LIMIT],
            "older_attempts": len(attempts) > ATTEMPT_LIMIT,
            "show_retry": (
                steering.can_retry(job) and self.has_retry_permission(request)
            ),
            "show_cancel": (
                steering.can_cancel(job)
                and job.cancel_requested_at is None
                and self.has_cancel_permission(request)
            ),
            "delete_after_cancel": (
                job.status == Status.RUNNING and self.has_delete_permission(request)
            ),
        }
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=gettext_lazy("task"))
    def task_name(self, job: Job) -> str:
        notes = []
        if find_task(job.task) is None:
            notes.append(_("There is no task of this name here."))
        if job.unknown_since is not None:
            since = moment(job.unknown_since)
            notes.append(format_html(_("No worker has known it since {}."), since))
        return format_html(
            '{} <span class="bgtasks-note">{}</span>',
            job.task,
            format_html_join(" ", "{}", ((note,) for note in notes)),
        )

    @admin.display(description=gettext_lazy("schedule"))
    def schedule_link(self, job: Job) -> str:
        name = job.schedule
        if name is None or not Schedule.objects.filter(pk=name).exists():
            return name or NOTHING
        url = reverse("admin:django_bgtasks_schedule_change", args=[quote(name)])
        return format_html('<a href="{}">{}</a>', url, name)

    @admin.display(description=gettext_lazy("name"))
    def label(self, job: Job) -> str:
        return job.verbose_name or NOTHING

    @admin.display(description=gettext_lazy("tags"))
    def tag_list(self, job: Job) -> str:
        return ", ".join(job.tags) or NOTHING

    @admin.display(description=gettext_lazy("enqueued by"))
    def parent_link(self, job: Job) -> str:
        if job.parent is None or not Job.objects.filter(pk=job.parent).exists():
            return NOTHING if job.parent is None else str(job.parent)
        url = reverse("admin:django_bgtasks_job_change", args=[job.parent])
        return format_html('<a href="{}">{}</a>', url, job.parent)

    @admin.display(description=gettext_lazy("metadata"))
    def notes(self, job: Job) -> SafeString:
        return pretty_json(job.metadata, secrets_of(job))

    @admin.display(description=gettext_lazy("expires"))
    def expires_on(self, job: Job) -> str:
        return moment(job.expires_at)

    @admin.display(description=gettext_lazy("kept for"))
    def kept_for(self, job: Job) -> str:
        return NOTHING if job.retention is None else duration(job.retention)

    @admin.display(description=gettext_lazy("unique until"))
    def unique_note(self, job: Job) -> str:
        if job.unique_key is None:
            return NOTHING
        if job.unique_expires_at is not None:
            return moment(job.unique_expires_at)
        return job.get_unique_until_display() or NOTHING

    @admin.display(description=gettext_lazy("scheduled for"))
    def tick(self, job: Job) -> str:
        if job.scheduled_for is None:
            return _("no time of its rule: somebody ran it")
        return moment(job.scheduled_for)

    @admin.display(description=gettext_lazy("status"))
    def status_now(self, job: Job) -> SafeString:
        shown = self.status_badge(job)
        if job.cancel_requested_at is None:
            return shown
        if job.is_expired and job.is_finished:
            note = _("No worker had begun it before it expired.")
            return format_html('{} <span class="bgtasks-note">{}</span>', shown, note)
        is_told = job.status == Status.CANCELLED
        text = "{time}" if is_told else _("asked to stop {time}")
        if job.cancel_requested_by:
            text += " " + _("by {name}")
        when = moment(job.cancel_requested_at)
        note = format_html(text, time=when, name=job.cancel_requested_by)
        return format_html('{} <span class="bgtasks-note">{}</span>', shown, note)

    @admin.display(description=gettext_lazy("situation"))
    def explanation(self, job: Job) -> SafeString:
        found = explain(job)
        return format_html_join(
            mark_safe("<br>"), "{}", ((one.text,) for one in (found, *found.also))
        )

    @admin.display(description=gettext_lazy("progress"))
    def progress_so_far(self, job: Job) -> str:
        if job.progress is None:
            return NOTHING
        return progress_bar(job.progress, secrets_of(job))

    @admin.display(description=gettext_lazy("arguments"))
    def arguments(self, job: Job) -> SafeString:
        return pretty_json(visible_call(job)[0])

    @admin.display(description=gettext_lazy("keyword arguments"))
    def keyword_arguments(self, job: Job) -> SafeString:
        return pretty_json(visible_call(job)[1])

    @admin.display(description=gettext_lazy("result"))
    def return_value(self, job: Job) -> str:
        # None is a result too, once there is one.
        if job.status != Status.SUCCESSFUL:
            return NOTHING
        return pretty_json(job.result, secrets_of(job))

    @admin.display(description=gettext_lazy("enqueued"))
    def enqueued_on(self, job: Job) -> str:
        return moment(job.enqueued_at)

    @admin.display(description=gettext_lazy("started"))
    def started_on(self, job: Job) -> str:
        return moment(job.started_at)

    @admin.display(description=gettext_lazy("not before"))
    def not_before(self, job: Job) -> str:
        return moment(job.run_after)

    @admin.display(description=gettext_lazy("finished"))
    def finished_on(self, job: Job) -> str:
        return moment(job.finished_at)

    @admin.display(description=gettext_lazy("time limit"))
    def time_limit(self, job: Job) -> str:
        if job.timeout is None:
            return NOTHING
        return duration(timedelta(seconds=job.timeout))

    @admin.display(description=gettext_lazy("worker"))
    def worker_name(self, job: Job) -> str:
        worker = job.last_worker
        return NOTHING if worker is None else _worker_names([worker])[worker]


def _search_help(request: HttpRequest) -> str:
    if may(request, VIEW_ARGUMENTS):
        return _(
            "An id or its beginning, an argument (user_id=42), the full name of a "
            "task, or a text in an error."
        )
    return _("An id or its beginning, the full name of a task, or a text in an error.")


def _ran_for(job: Job) -> timedelta | None:
    """How long the last run took, as far as the row of the job knows."""
    if job.started_at is None:
        return None
    if job.status == Status.RUNNING:
        return timezone.now() - job.started_at
    # A job may have been cancelled long after its last run had ended.
    if job.finished_at is None or job.status == Status.CANCELLED:
        return None
    return job.finished_at - job.started_at


def _attempts(job: Job) -> list[dict[str, Any]]:
    """The attempts that did not succeed, newest first, and one more than are shown."""
    attempts = list(job.attempts.order_by("-id")[: ATTEMPT_LIMIT + 1])
    names = _worker_names(attempt.worker for attempt in attempts)
    return [
        {
            "number": attempt.number,
            "ending": badge(attempt.ending, attempt.get_ending_display()),
            "started": moment(attempt.started_at),
            "finished": moment(attempt.finished_at),
            "duration": duration(attempt.finished_at - attempt.started_at),
            "worker": names[attempt.worker],
            "exception": attempt.exception_class_path,
            "error": attempt.error,
            "traceback": attempt.traceback,
        }
        for attempt in attempts
    ]


def _worker_names(ids: Iterable[UUID]) -> dict[UUID, str]:
    """Host and process of each worker that is still there, else its id."""
    wanted = set(ids)
    alive = Worker.objects.in_bulk(wanted)
    return {pk: f"{alive[pk]} ({pk})" if pk in alive else str(pk) for pk in wanted}
