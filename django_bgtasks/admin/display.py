"""How the admin shows a value. Whatever comes from a job is escaped here."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_bgtasks.models import Job
from django_bgtasks.models.job import Status
from django_bgtasks.models.worker import Instruction
from django_bgtasks.redaction import Secrets
from django_bgtasks.store.workers import is_claiming
from django_bgtasks.tasks import Call, redaction_of
from django_bgtasks.timing import can_be_kept
from django_bgtasks.wording import as_local

#: Where there is nothing to show. The list would make this of None, a page would not.
NOTHING = "-"
#: In place of what must not be seen by all.
ARGUMENTS_HIDDEN = gettext_lazy(
    "Arguments, results, metadata and the texts of errors are shown to those with the "
    "permission “Can view arguments and results of job”."
)
#: Characters of a job's JSON that a page shows; results have no limit of their own.
JSON_LIMIT = 100_000


def badge(kind: str, label: str) -> SafeString:
    """A coloured word; its colour is in admin.css, by ``kind``."""
    return format_html(
        '<span class="bgtasks-badge bgtasks-{}">{}</span>', kind.lower(), label
    )


def worker_badge(*, is_live: bool, told: str) -> SafeString:
    """How a worker is; what a newer version has told it is shown as it stands there."""
    if not is_live:
        return badge("lost", _("Lost"))
    states = {
        "": _("Live"),
        Instruction.QUIET: _("Quiet"),
        Instruction.DRAIN: _("Draining"),
        Instruction.STOP: _("Stopping"),
    }
    return badge("active" if is_claiming(told) else "paused", states.get(told, told))


def moment(value: datetime | None) -> str:
    """A time to the second, in the reader's time zone."""
    return _time(value, "Y-m-d H:i:s")


def recent_moment(value: datetime | None) -> str:
    """The same in less space: today's without the date, others without the seconds."""
    today = (
        value is not None and as_local(value).date() == as_local(timezone.now()).date()
    )
    return _time(value, "H:i:s" if today else "Y-m-d H:i")


def _time(value: datetime | None, style: str) -> str:
    if value is None:
        return NOTHING
    local = as_local(value)
    return format_html(
        '<time class="bgtasks-moment" datetime="{}" title="{}">{}</time>',
        local.isoformat(),
        date_format(local, "Y-m-d H:i:s"),
        date_format(local, style),
    )


def check_moment(value: datetime) -> None:
    """For fields of forms: refuse a time that is in no calendar of some zone.

    Raises:
        ValidationError: it is one.
    """
    if not can_be_kept(value):
        raise ValidationError(forms.DateTimeField.default_error_messages["invalid"])


def run_time(job: Job) -> timedelta | None:
    """How long the last run took, as far as the row of the job knows."""
    if job.started_at is None:
        return None
    if job.status == Status.RUNNING:
        return timezone.now() - job.started_at
    # A job may have been cancelled long after its last run had ended.
    if job.finished_at is None or job.status == Status.CANCELLED:
        return None
    return job.finished_at - job.started_at


def one_line(text: str) -> SafeString:
    """A text on one line, cut by the width there is; all of it when pointed at."""
    return format_html(
        '<span class="bgtasks-line" title="{}">{}</span>', text, " ".join(text.split())
    )


def pretty_json(value: Any, secrets: Secrets | None = None) -> SafeString:
    """A job's arguments or result, indented, without what must not be seen of it."""
    text = masked(json.dumps(value, indent=2, ensure_ascii=False), secrets)
    # JSON may hold lone surrogates, which no page can be encoded with.
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) > JSON_LIMIT:
        rest = _("… and {count} more characters").format(
            count=number_format(len(text) - JSON_LIMIT, force_grouping=True)
        )
        text = f"{text[:JSON_LIMIT]}\n{rest}"
    return format_html('<pre class="bgtasks-code" tabindex="0">{}</pre>', text)


def visible_call(row: Call) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a job or a schedule, without the sensitive ones."""
    redaction = redaction_of(row.task)
    if redaction is None:
        return row.args, row.kwargs
    return redaction.visible(row.args, row.kwargs)


def progress_bar(
    progress: dict[str, Any], secrets: Secrets | None = None
) -> SafeString:
    """What ``context.progress(done, total, message)`` reported last."""
    done, total, message = (progress.get(k) for k in ("done", "total", "message"))
    message = masked(message or "", secrets)
    if not total:
        return format_html("{} {}", done, message)
    return format_html(
        '<progress class="bgtasks-progress" value="{}" max="{}" aria-label="{}">'
        "</progress> {} {}",
        done,
        total,
        _("progress"),
        _("{done} of {total}").format(done=done, total=total),
        message,
    )


def masked(text: str, secrets: Secrets | None) -> str:
    """A text without what must not be seen."""
    return text if secrets is None else secrets.mask(text)
