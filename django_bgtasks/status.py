"""What pages of the site may show of a job: how it is doing, and nothing of its own.

Not its arguments and errors, which may say more than a visitor should know.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.utils.translation import gettext as _

from django_bgtasks import timing
from django_bgtasks._framework import TaskResult, TaskResultDoesNotExist
from django_bgtasks.estimating import eta
from django_bgtasks.models import Job
from django_bgtasks.models.job import Status
from django_bgtasks.redaction import Secrets
from django_bgtasks.store.engines import get_engine
from django_bgtasks.tasks import secrets_of
from django_bgtasks.wording import rough_duration

#: Characters of a result that a page shows.
RESULT_LIMIT = 2_000


def job_status(job: Job | TaskResult[Any, Any] | UUID | str) -> dict[str, Any]:
    """How a job is doing, as plain JSON for a page of the site.

    ::

        JsonResponse(job_status(report.job_id))

    Who may see that is for the caller to know. There are no arguments, errors or
    results in it, and no sensitive argument in the message.

    Args:
        job: the job, its result, or its id; one query, unless it is the job.

    Returns:
        ``id``, ``status``, ``status_label`` (in the reader's language), ``finished``,
        ``attempt``, ``max_attempts``, ``attempt_label`` (empty: all goes as it should),
        ``progress`` (``done``, ``total``, ``message``; None: it has reported nothing),
        ``percent`` (None: nobody knows), ``seconds_left`` and ``time_left`` (an
        estimate, and the same as text; None and empty where it would be a guess).

    Raises:
        TaskResultDoesNotExist: there is no such job.
    """
    row = find_job(job)
    if row is None:
        raise TaskResultDoesNotExist(f"There is no job {_key(job)}.")
    return status_of(row)


async def ajob_status(job: Job | TaskResult[Any, Any] | UUID | str) -> dict[str, Any]:
    """``job_status`` for async code."""
    return await sync_to_async(job_status)(job)


def find_job(job: Job | TaskResult[Any, Any] | UUID | str) -> Job | None:
    """The row as it is now, or None; of a ``Job``, that one."""
    if isinstance(job, Job):
        return job
    # Where they are written: a replica may not have heard of the job.
    rows = Job.objects.using(get_engine().alias)
    try:
        # A result may be large, and most do not ask for it.
        return rows.filter(pk=UUID(str(_key(job)))).defer("result", "metadata").first()
    except ValueError:
        return None


def status_of(row: Job) -> dict[str, Any]:
    """As ``job_status``, of a row that is there."""
    progress = _progress(row, secrets_of(row))
    left = None
    if row.status == Status.RUNNING:
        left = eta(progress, row.started_at, timing.now())
    return {
        "id": str(row.pk),
        "status": str(row.status),
        "status_label": str(Status(row.status).label),
        "finished": row.is_finished,
        "attempt": row.attempt,
        "max_attempts": row.max_attempts,
        "attempt_label": _attempt_label(row),
        "progress": progress,
        "percent": _percent(row, progress),
        "seconds_left": None if left is None else round(left.total_seconds()),
        "time_left": _time_left(left),
    }


def result_of(row: Job) -> str:
    """What a job returned as text, without what must not be seen; empty: nothing."""
    if row.status != Status.SUCCESSFUL or row.result is None:
        return ""
    value = row.result
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = _encodable(_masked(text, secrets_of(row)))
    return text if len(text) <= RESULT_LIMIT else f"{text[:RESULT_LIMIT]}…"


def name_of(row: Job) -> str:
    """What people call the job: its own name, or its task's in words."""
    if row.verbose_name:
        return _encodable(_masked(row.verbose_name, secrets_of(row)))
    return row.task.rpartition(".")[2].replace("_", " ").strip().capitalize()


def _key(job: Job | TaskResult[Any, Any] | UUID | str) -> object:
    return job.id if isinstance(job, Job | TaskResult) else job


def _progress(row: Job, secrets: Secrets | None) -> dict[str, Any] | None:
    if row.progress is None:
        return None
    message = _masked(str(row.progress.get("message") or ""), secrets)
    return {
        "done": row.progress.get("done"),
        "total": row.progress.get("total"),
        "message": _encodable(message),
    }


def _attempt_label(row: Job) -> str:
    """Which attempt it is, of a job that is tried again."""
    is_first = row.attempt <= 1 if _has_begun(row) else row.attempt == 0
    if is_first:
        return ""
    text = _("attempt {number} of {most}")
    return text.format(number=row.attempt, most=row.max_attempts)


def _has_begun(row: Job) -> bool:
    return row.is_finished or row.status == Status.RUNNING


def _percent(row: Job, progress: dict[str, Any] | None) -> int | None:
    if row.status == Status.SUCCESSFUL:
        return 100
    if not progress or not progress["total"]:
        return None
    share = (progress["done"] or 0) / progress["total"]
    return int(100 * min(max(share, 0), 1))


def _time_left(left: Any) -> str:
    return (
        "" if left is None else _("about {time} left").format(time=rough_duration(left))
    )


def _masked(text: str, secrets: Secrets | None) -> str:
    return text if secrets is None else secrets.mask(text)


def _encodable(text: str) -> str:
    # JSON may hold lone surrogates, which no page can be encoded with.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
