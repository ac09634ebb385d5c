"""Jobs: the list. The page of one is in ``job_page``."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_bgtasks.admin.display import (
    NOTHING,
    badge,
    one_line,
    recent_moment,
    run_time,
)
from django_bgtasks.admin.job_list import (
    FILTERS,
    JobChangeList,
    address_without_blanks,
)
from django_bgtasks.admin.job_page import JobPage
from django_bgtasks.admin.permissions import VIEW_ARGUMENTS, may
from django_bgtasks.models import Job
from django_bgtasks.models.job import Status
from django_bgtasks.wording import duration


@admin.register(Job)
class JobAdmin(JobPage):
    """Jobs are looked at and steered here, never made or edited."""

    list_display = (
        "short_id",
        # What one looks for first stays in sight on a narrow screen, and on a laptop
        # when it was and what went wrong.
        "status_badge",
        "task_and_labels",
        "enqueued",
        "last_error",
        "timing",
        "attempts_so_far",
        "queue",
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
        ran = run_time(job)
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


def _search_help(request: HttpRequest) -> str:
    if may(request, VIEW_ARGUMENTS):
        return _(
            "An id or its beginning, an argument (user_id=42), the full name of a "
            "task, or a text in an error."
        )
    return _("An id or its beginning, or the full name of a task.")
