"""``{% load bgtasks %}``: the status of a job on the site's own pages."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import template
from django.core.exceptions import ImproperlyConfigured
from django.template.context import Context
from django.urls import NoReverseMatch, reverse

from django_bgtasks._framework import TaskResult
from django_bgtasks.models import Job
from django_bgtasks.status import find_job, name_of, result_of, status_of
from django_bgtasks.tickets import Ticket, owner_key

register = template.Library()

#: How status.js may keep a block up to date.
_WAYS = ("poll", "events", "")


@register.inclusion_tag("django_bgtasks/status.html", takes_context=True)
def job_status(
    context: Context,
    job: Job | TaskResult[Any, Any] | UUID | str | None,
    *,
    label: str = "",
    live: str = "poll",
    show_result: bool = False,
) -> dict[str, Any]:
    """A block with the status, progress bar, message and time left of a job.

    With ``status.js`` on the page, it follows the job, for the user for whom the page
    was rendered and for nobody else.

    Args:
        context: of the template; with the request.
        job: the job, its result, or its id. If there is none, the block says so.
        label: what the job is called; by default its own name, or its task's.
        live: "poll" asks again and again, "events" has one connection on which the
            server tells of changes (for ASGI), and empty leaves the block as it is.
        show_result: whether to show what the job has returned.

    Raises:
        TemplateSyntaxError: ``live`` is something else.
        ImproperlyConfigured: the template has no request, or the project has no URLs
            of ours.
    """
    if live not in _WAYS:
        raise template.TemplateSyntaxError(
            f"job_status has live={live!r}; it must be 'poll', 'events' or ''."
        )
    row = None if job is None else find_job(job)
    if row is None:
        return {"status": None, "label": label}
    shown = {
        "status": status_of(row),
        "label": label or name_of(row),
        "show_result": show_result,
        "result": result_of(row) if show_result else "",
    }
    if row.is_finished or not live:
        return shown
    ticket = Ticket(row.pk, _owner(context), show_result).sign()
    # Who cannot listen asks, so that URL is there in any case.
    shown["poll_url"] = _url("job_status", ticket)
    if live == "events":
        shown["events_url"] = _url("job_events", ticket)
    return shown


def _owner(context: Context) -> str | None:
    if "request" not in context:
        raise ImproperlyConfigured(
            "job_status needs the request, to know whose job it shows. Add "
            "'django.template.context_processors.request' to the context processors of "
            "TEMPLATES and render with a request, or say live=''."
        )
    return owner_key(getattr(context["request"], "user", None))


def _url(view: str, ticket: str) -> str:
    try:
        return reverse(f"django_bgtasks:{view}", args=[ticket])
    except NoReverseMatch as error:
        raise ImproperlyConfigured(
            "job_status needs URLs to ask for news of the job. Add "
            "path('bgtasks/', include('django_bgtasks.urls')) to the urlpatterns, or "
            "say live=''."
        ) from error
