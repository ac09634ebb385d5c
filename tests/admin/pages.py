"""Rows as workers leave them, and the admin's pages about them."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape

from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.urls import reverse
from django.utils import timezone

from django_bgtasks.models import Attempt
from django_bgtasks.models.job import new_id
from tests.factories import make_job

MARKUP = """<script>alert("it's on")</script>"""

_BY_STATUS = {
    "SCHEDULED": {"run_after": timedelta(minutes=5)},
    "READY": {},
    "RUNNING": {"started_at": -timedelta(seconds=5), "attempt": 1},
    "SUCCESSFUL": {
        "started_at": -timedelta(seconds=4),
        "finished_at": -timedelta(seconds=1),
        "attempt": 1,
    },
    "FAILED": {
        "started_at": -timedelta(seconds=4),
        "finished_at": -timedelta(seconds=1),
        "attempt": 3,
    },
    "CANCELLED": {"finished_at": -timedelta(seconds=1)},
}


def utc(*parts):
    """A moment, as this site keeps it: aware, or naive in its time zone."""
    value = datetime(*parts, tzinfo=UTC)
    zone = timezone.get_default_timezone()
    return value if settings.USE_TZ else timezone.make_naive(value, zone)


def local(value):
    return timezone.localtime(value) if settings.USE_TZ else value


def job_that_is(status, **columns):
    now = timezone.now()
    for name, value in _BY_STATUS[status].items():
        at = now + value if isinstance(value, timedelta) else value
        columns.setdefault(name, at)
    if "started_at" in columns:
        worker = new_id()
        columns.setdefault("last_worker", worker)
        columns.setdefault("worker", worker if status == "RUNNING" else None)
    return make_job(status=status, **columns)


def failed_attempt(job, number=1, **columns):
    now = timezone.now()
    return Attempt.objects.create(
        job=job,
        number=number,
        **{
            "ending": Attempt.Ending.FAILED,
            "worker": job.last_worker or new_id(),
            "started_at": now - timedelta(seconds=3),
            "finished_at": now - timedelta(seconds=1),
            "exception_class_path": "builtins.ValueError",
            "error": f"ValueError: number {number}",
            "traceback": f"Traceback (most recent call last):\n  line {number}\n",
            **columns,
        },
    )


def changelist(model="job"):
    return reverse(f"admin:django_bgtasks_{model}_changelist")


def page(row, view="change", *more):
    name = f"admin:django_bgtasks_{row._meta.model_name}_{view}"
    return reverse(name, args=[row.pk, *more])


def act(client, action, rows, model="job", **data):
    """Run an action of the list on ``rows``."""
    keys = [row.pk for row in rows]
    data = {"action": action, "index": "0", "_selected_action": keys, **data}
    return client.post(changelist(model), data)


def delete(client, rows, model="job"):
    """The same with "delete", and say yes to "Are you sure?"."""
    keys = [row.pk for row in rows]
    data = {"action": "delete_selected", "post": "yes", "_selected_action": keys}
    return client.post(changelist(model), data)


def listed(response):
    """The rows of a list's page."""
    return list(response.context["cl"].result_list)


def cells(response, column):
    """What the column says, row by row."""
    found = re.findall(
        rf'<t[dh] class="[^"]*field-{column}[^"]*"[^>]*>(.*?)</t[dh]>',
        response.content.decode(),
        re.DOTALL,
    )
    return [_without_tags(cell) for cell in found]


def field(response, name):
    """What a job's page says after the label of a field."""
    html = response.content.decode()
    # The last time: fields that share a line are all named at its beginning too.
    _, _, rest = html.rpartition(f"field-{name}")
    _, _, value = rest.partition('<div class="readonly">')
    return _without_tags(value.partition("</div>")[0])


def text_of(response):
    """What a reader sees of a page, in one line."""
    return _without_tags(response.content.decode())


def _without_tags(html):
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def said(response):
    """The messages that a request led to."""
    storage = get_messages(response.wsgi_request)
    # Not all of them, which would count in those of requests before.
    return [str(message) for message in storage._queued_messages]


def log_entries():
    return {
        (entry.object_id, entry.get_action_flag_display(), entry.change_message)
        for entry in LogEntry.objects.all()
    }
