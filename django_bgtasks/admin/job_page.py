"""The page of one job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_bgtasks.admin import steering, tracebacks
from django_bgtasks.admin.display import (
    ARGUMENTS_HIDDEN,
    NOTHING,
    badge,
    masked,
    moment,
    pretty_json,
    progress_bar,
    visible_call,
)
from django_bgtasks.admin.duplicating import JobDuplicating
from django_bgtasks.admin.permissions import VIEW_ARGUMENTS, may
from django_bgtasks.admin.progress import pace
from django_bgtasks.admin.relatives import Links, workers_by_id
from django_bgtasks.admin.timeline import Event, timeline
from django_bgtasks.models import Attempt, Job, Worker
from django_bgtasks.models.job import Status
from django_bgtasks.redaction import Secrets
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.explain import Explanation, explain
from django_bgtasks.tasks import find_task, secrets_of
from django_bgtasks.wording import duration

#: Attempts that a job's page shows.
ATTEMPT_LIMIT = 50
#: Those of them whose tracebacks it shows, of up to 20,000 characters each. To the others
#: it links.
TRACEBACK_LIMIT = 5
#: Entries of the admin's log that it shows.
LOG_LIMIT = 20
#: Seconds between two looks at a job that runs, and at one that waits.
LIVE_RUNNING, LIVE_WAITING = 2, 5

#: Lines of fields that are shown only where they say something.
_LABELS = ("label", "tag_list")
_NOTES = "notes"
_LIMITS = ("expires_on", "kept_for", "unique_note")
#: What is shown to those who may see arguments, and what to the others.
_CALL = ("arguments", "keyword_arguments", "return_value", _NOTES)
_HIDDEN_CALL = ("hidden_call",)


class JobPage(JobDuplicating):
    """What the page of a job shows, and the buttons on it."""

    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("task_name", "queue", "priority"),
                    ("attempts_so_far", "timing"),
                    _LABELS,
                    _LIMITS,
                    ("id", "time_limit", "backend", "run_token"),
                )
            },
        ),
        (gettext_lazy("Call"), {"fields": _CALL}),
    )
    readonly_fields = (*flatten_fieldsets(fieldsets), *_HIDDEN_CALL)

    class Media:
        js = ("django_bgtasks/live.js",)

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_traceback"
        view = self.admin_site.admin_view(self.traceback_view)
        route = "<uuid:pk>/traceback/<int:attempt>/"
        return [path(route, view, name=name), *super().get_urls()]

    def traceback_view(
        self, request: HttpRequest, pk: UUID, attempt: int
    ) -> HttpResponse:
        """The traceback of an attempt as it is stored, to be copied whole."""
        if not (self.has_view_permission(request) and may(request, VIEW_ARGUMENTS)):
            raise PermissionDenied
        job = get_object_or_404(self.get_queryset(request), pk=pk)
        row = get_object_or_404(Attempt, pk=attempt, job=job)
        return HttpResponse(
            masked(row.traceback, secrets_of(job)),
            content_type="text/plain; charset=utf-8",
            # Whatever it says is no page.
            headers={"X-Content-Type-Options": "nosniff"},
        )

    def get_fieldsets(self, request: HttpRequest, obj: Job | None = None) -> Any:
        (_none, facts), (call, _fields) = self.fieldsets
        left_out = set() if obj is None else set(_lines_that_say_nothing(obj))
        shown = _CALL if may(request, VIEW_ARGUMENTS) else _HIDDEN_CALL
        return [
            (None, {"fields": [x for x in facts["fields"] if x not in left_out]}),
            (call, {"fields": [x for x in shown if x not in left_out]}),
        ]

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Attempts are counted, not listed: their texts are not for all to see."""
        listed, *rest = super().get_deleted_objects(objs, request)
        return [line for line in listed if isinstance(line, str)], *rest

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        job: Job = kwargs["obj"]
        # A finished job needs no clock.
        now = timezone.now() if job.is_finished else get_engine().now()
        context |= self._state(request, job, now)
        context |= self._history(request, job, now)
        context |= self._buttons(request, job)
        return super().render_change_form(request, context, *args, **kwargs)

    # -- what is on it

    def _state(self, request: HttpRequest, job: Job, now: datetime) -> dict[str, Any]:
        """What the job is at now; the part that changes while somebody looks."""
        sees_all = may(request, VIEW_ARGUMENTS)
        live = LIVE_RUNNING if job.status == Status.RUNNING else LIVE_WAITING
        return {
            "live": None if job.is_finished else live,
            "status": _status(job),
            "situation": [] if job.is_finished else _situation(job, now, sees_all),
            "progress": _progress(job, sees_all),
            "pace": _pace(job, now),
        }

    def _history(self, request: HttpRequest, job: Job, now: datetime) -> dict[str, Any]:
        """What has become of the job, and of what it is linked with."""
        attempts = list(job.attempts.order_by("-id")[: ATTEMPT_LIMIT + 1])
        shown = attempts[:ATTEMPT_LIMIT]
        workers = workers_by_id([job.last_worker, *(one.worker for one in shown)])
        links = Links(request, self.admin_site)
        events = timeline(job, shown[::-1], now, is_cut=len(attempts) > ATTEMPT_LIMIT)
        return {
            "timeline": [_row(event) for event in events],
            "attempts": list(_attempts(job, shown, request, links, workers)),
            "older_attempts": len(attempts) > ATTEMPT_LIMIT,
            "relatives": links.of(job, workers),
            "log_entries": _log_entries(job),
        }

    def _buttons(self, request: HttpRequest, job: Job) -> dict[str, Any]:
        """What can be done to the job, by who asks."""
        is_known = find_task(job.task) is not None
        may_duplicate = self.has_duplicate_permission(request, job)
        is_running = job.status == Status.RUNNING
        return {
            "show_retry": (
                steering.can_retry(job) and self.has_retry_permission(request)
            ),
            "show_cancel": (
                steering.can_cancel(job)
                and job.cancel_requested_at is None
                and self.has_cancel_permission(request)
            ),
            "is_running": is_running,
            "show_duplicate": may_duplicate and is_known,
            "cannot_duplicate": may_duplicate and not is_known,
            "delete_after_cancel": is_running and self.has_delete_permission(request),
        }

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

    @admin.display(description=gettext_lazy("name"))
    def label(self, job: Job) -> str:
        return job.verbose_name or NOTHING

    @admin.display(description=gettext_lazy("tags"))
    def tag_list(self, job: Job) -> str:
        return ", ".join(job.tags) or NOTHING

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

    @admin.display(description=gettext_lazy("time limit"))
    def time_limit(self, job: Job) -> str:
        if job.timeout is None:
            return NOTHING
        return duration(timedelta(seconds=job.timeout))

    @admin.display(description=gettext_lazy("arguments and result"))
    def hidden_call(self, job: Job) -> str:
        return str(ARGUMENTS_HIDDEN)


def _lines_that_say_nothing(job: Job) -> Iterator[object]:
    if not (job.verbose_name or job.tags):
        yield _LABELS
    if not job.metadata:
        yield _NOTES
    if not (job.expires_at or job.retention or job.unique_key):
        yield _LIMITS


def _status(job: Job) -> SafeString:
    shown = badge(job.status, job.get_status_display())
    if job.cancel_requested_at is None:
        return shown
    if job.is_expired and job.is_finished:
        note = _("No worker had begun it before it expired.")
        return format_html('{} <span class="bgtasks-note">{}</span>', shown, note)
    is_told = job.status == Status.CANCELLED
    if not job.cancel_requested_by:
        text = "{time}" if is_told else _("asked to stop {time}")
    elif is_told:
        text = _("{time} by {name}")
    else:
        text = _("asked to stop {time} by {name}")
    when = moment(job.cancel_requested_at)
    note = format_html(text, time=when, name=job.cancel_requested_by)
    return format_html('{} <span class="bgtasks-note">{}</span>', shown, note)


def _situation(job: Job, now: datetime, sees_all: bool) -> list[str]:
    """Why it is not running, or what it is at, sentence by sentence."""
    found = explain(job, now)
    return [
        one.text if sees_all else _without_error(one) for one in (found, *found.also)
    ]


def _without_error(explanation: Explanation) -> str:
    error = explanation.facts.get("error")
    if not error:
        return explanation.text
    return explanation.text.replace(f": {error.rstrip('.')}", "")


def _progress(job: Job, sees_all: bool) -> str:
    if job.progress is None:
        return ""
    # Its message is the task's own.
    shown = job.progress if sees_all else {**job.progress, "message": ""}
    return progress_bar(shown, secrets_of(job))


def _pace(job: Job, now: datetime) -> str:
    if job.status != Status.RUNNING or job.started_at is None:
        return ""
    return pace(job.progress or {}, job.started_at, now)


def _row(event: Event) -> dict[str, Any]:
    ending = event.ending
    when = _("now") if event.kind == "waiting" else ""
    return {
        "event": event,
        "when": moment(event.at) if event.at else when,
        "badge": badge(ending, str(ending.label)) if ending else "",
    }


def _attempts(
    job: Job,
    attempts: Sequence[Attempt],
    request: HttpRequest,
    links: Links,
    workers: Mapping[UUID, Worker],
) -> Iterator[dict[str, Any]]:
    """The attempts that did not succeed, the newest first."""
    sees_all = may(request, VIEW_ARGUMENTS)
    secrets = secrets_of(job)
    for index, attempt in enumerate(attempts):
        shows_traceback = sees_all and index < TRACEBACK_LIMIT
        yield {
            "pk": attempt.pk,
            "number": attempt.number,
            "ending": badge(attempt.ending, attempt.get_ending_display()),
            "started": moment(attempt.started_at),
            "finished": moment(attempt.finished_at),
            "duration": duration(attempt.finished_at - attempt.started_at),
            "worker": links.worker(attempt.worker, workers),
            "exception": attempt.exception_class_path,
            "error": masked(attempt.error, secrets) if sees_all else "",
            "parts": _parts(attempt, secrets) if shows_traceback else [],
            "links_traceback": sees_all,
        }


def _parts(attempt: Attempt, secrets: Secrets | None) -> list[tracebacks.Part]:
    return tracebacks.split(masked(attempt.traceback, secrets))


def _log_entries(job: Job) -> list[dict[str, str]]:
    """What users of the admin did to the job, the newest first."""
    entries = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(Job), object_id=str(job.pk)
    )
    newest = entries.select_related("user").order_by("-action_time", "-pk")
    return [
        {
            "when": moment(entry.action_time),
            "user": entry.user.get_username(),
            "what": entry.get_change_message() or entry.get_action_flag_display(),
        }
        for entry in newest[:LOG_LIMIT]
    ]
