"""What failed lately, folded: a thousand failures of one kind are one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import QuerySet

from django_bgtasks.models import Job
from django_bgtasks.models.job import Status
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.selection import of_last_attempt
from django_bgtasks.tasks import secrets_of

#: How far back failures are looked at, and how many: the newest.
RECENT = timedelta(hours=24)
LIMIT = 1000
#: Kinds that are told apart, those of the newest failures.
KIND_LIMIT = 30


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Failures of one task with one exception.

    Args:
        task: the name of the task.
        exception: the path of the exception's class; empty if there was none.
        count: how many jobs failed so, of those that were looked at.
        first_at: when the oldest of these failed.
        last_at: when the newest of them did.
        error: the line that the newest one ended with, without what is sensitive.
    """

    task: str
    exception: str
    count: int
    first_at: datetime
    last_at: datetime
    error: str


@dataclass(frozen=True, kw_only=True)
class Failures:
    """What failed lately.

    Args:
        kinds: the most frequent first.
        is_capped: whether there were more failures than were looked at.
    """

    kinds: tuple[Kind, ...]
    is_capped: bool


def recent(now: datetime) -> Failures:
    """The newest failures of the last 24 hours, by task and exception."""
    found = _newest(now)
    kept = found[:LIMIT]
    counts = Counter((failure.task, failure.exception) for failure in kept)
    last = {(failure.task, failure.exception): failure for failure in reversed(kept)}
    first = {(failure.task, failure.exception): failure for failure in kept}
    newest = sorted(last.values(), key=lambda f: f.finished_at, reverse=True)
    errors = _errors([failure.id for failure in newest[:KIND_LIMIT]])
    kinds = [
        Kind(
            task=failure.task,
            exception=failure.exception,
            count=counts[failure.task, failure.exception],
            first_at=first[failure.task, failure.exception].finished_at,
            last_at=failure.finished_at,
            error=errors.get(failure.id, ""),
        )
        for failure in newest[:KIND_LIMIT]
    ]
    return Failures(
        kinds=tuple(sorted(kinds, key=lambda kind: -kind.count)),
        is_capped=len(found) > LIMIT,
    )


def of_kind(task: str, exception: str, now: datetime) -> list[UUID]:
    """The jobs that ``recent`` counts as of this kind, the newest first."""
    return [
        failure.id
        for failure in _newest(now)[:LIMIT]
        if (failure.task, failure.exception) == (task, exception)
    ]


class _Failure(NamedTuple):
    id: UUID
    task: str
    finished_at: datetime
    exception: str


def _newest(now: datetime) -> list[_Failure]:
    """The newest failures first, and one more than are looked at."""
    rows: Any = Job.objects.using(get_engine().alias).of_status(Status.FAILED)
    newest = (
        rows.filter(finished_at__gt=now - RECENT)
        .annotate(exception=of_last_attempt("exception_class_path"))
        .order_by("-finished_at")
        .values_list("id", "task", "finished_at", "exception")[: LIMIT + 1]
    )
    return [
        _Failure(pk, task, finished_at, exception or "")
        for pk, task, finished_at, exception in newest
    ]


def _errors(jobs: Sequence[UUID]) -> dict[UUID, str]:
    """The error that each job ended with, as it may be shown."""
    rows: QuerySet[Any] = Job.objects.using(get_engine().alias).filter(pk__in=jobs)
    columns = rows.only("task", "args", "kwargs")
    return {
        job.pk: _masked(job) for job in columns.annotate(error=of_last_attempt("error"))
    }


def _masked(job: Any) -> str:
    secrets = secrets_of(job)
    text: str = job.error or ""
    return text if secrets is None else secrets.mask(text)
