"""The last jobs of a schedule as a row of bars, and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from django_bgtasks.admin.display import NOTHING, badge, moment
from django_bgtasks.models import Job
from django_bgtasks.models.job import Status
from django_bgtasks.wording import duration

#: Bars at the most.
LENGTH = 30

#: Measures of the drawing, in units of its own.
_HEIGHT = 20
_LEAST = 3
_STEP = 5
_WIDTH = 4


def sparkline(jobs: Sequence[Job], now: datetime) -> SafeString | str:
    """A bar for each of ``jobs``, oldest first: as high as it ran long.

    What is drawn is said as well: of each bar when somebody points at it, and of all of
    them by the label.
    """
    if not jobs:
        return NOTHING
    spans = [_ran_for(job, now) for job in jobs]
    longest = max((span for span in spans if span is not None), default=None)
    bars = format_html_join(
        "",
        '<rect class="bgtasks-bar bgtasks-bar-{}" x="{}" y="{}" width="{}" height="{}">'
        "<title>{}</title></rect>",
        (
            (
                job.status.lower(),
                place * _STEP,
                _HEIGHT - height,
                _WIDTH,
                height,
                _told(job, span),
            )
            for place, (job, span) in enumerate(zip(jobs, spans, strict=True))
            for height in (_height(span, longest),)
        ),
    )
    width = len(jobs) * _STEP - (_STEP - _WIDTH)
    return format_html(
        '<svg class="bgtasks-spark" role="img" aria-label="{}" width="{}" height="{}" '
        'viewBox="0 0 {} {}">{}</svg>',
        summary(jobs, now),
        width,
        _HEIGHT,
        width,
        _HEIGHT,
        bars,
    )


def summary(jobs: Sequence[Job], now: datetime) -> str:
    """How the last jobs went, in a sentence."""
    counts = Counter(job.status for job in jobs)
    told = ", ".join(
        f"{Status(status).label}: {counts[status]}"
        for status in Status.values
        if counts[status]
    )
    text = _("Last {count} jobs. {told}.").format(count=len(jobs), told=told)
    spans = [span for job in jobs if (span := _ran_for(job, now)) is not None]
    if not spans:
        return text
    longest = _("The longest ran for {time}.").format(time=duration(max(spans)))
    return f"{text} {longest}"


def listed(
    jobs: Sequence[Job], now: datetime, *, with_links: bool
) -> list[dict[str, Any]]:
    """The same as rows of a table, newest first."""
    return [
        {
            "url": (
                reverse("admin:django_bgtasks_job_change", args=[job.pk])
                if with_links
                else ""
            ),
            "enqueued": moment(job.enqueued_at),
            "status": badge(job.status, job.get_status_display()),
            "ran_for": NOTHING if span is None else duration(span),
        }
        for job in reversed(jobs)
        for span in (_ran_for(job, now),)
    ]


def _ran_for(job: Job, now: datetime) -> timedelta | None:
    """How long its last run took, or takes; None: it waits, or was cancelled."""
    if job.started_at is None:
        return None
    if job.status == Status.RUNNING:
        return now - job.started_at
    if job.status in (Status.SUCCESSFUL, Status.FAILED) and job.finished_at is not None:
        return job.finished_at - job.started_at
    return None


def _height(span: timedelta | None, longest: timedelta | None) -> int:
    if not span or not longest:
        return _LEAST
    share = max(span / longest, 0)
    return _LEAST + round((_HEIGHT - _LEAST) * share)


def _told(job: Job, span: timedelta | None) -> str:
    label = str(Status(job.status).label)
    return label if span is None else f"{label}, {duration(span)}"
