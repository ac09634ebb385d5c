"""What a user of the admin does to jobs: by the store, and with log entries.

Few jobs are locked first, so that what is said and logged is what happened, and no
worker claims one in between. Many are left to a job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.contrib.admin.models import CHANGE, DELETION
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.text import Truncator, capfirst
from django.utils.translation import gettext as _

from django_bgtasks import housekeeping
from django_bgtasks.admin.permissions import VIEW_ARGUMENTS, may
from django_bgtasks.admin.reporting import log
from django_bgtasks.labels import NAME_LIMIT
from django_bgtasks.models import Job, JobQuerySet
from django_bgtasks.models.job import Status, new_id
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.selection import Selection
from django_bgtasks.store.sweeps import DEEDS, RETRYABLE


@dataclass(frozen=True)
class Done:
    """What became of how many jobs, and how many were left as they were."""

    counts: Mapping[str, int]
    left: int


@dataclass(frozen=True)
class Wish:
    """What somebody wants done.

    Args:
        deed: the name of one of the store's ``DEEDS``.
        note: what a log says of it.
        options: what the deed asks for, as JSON.
    """

    deed: str
    note: str
    options: Mapping[str, Any] = field(default_factory=dict)


def can_retry(job: Job) -> bool:
    """Whether another attempt can be given to the job as it is now."""
    # What somebody was allowed to ask for is not for everybody to ask for once more.
    return job.status in RETRYABLE and job.task not in housekeeping.GUARDED


def can_cancel(job: Job) -> bool:
    """Whether the job as it is now has an end to be brought about."""
    return not job.is_finished


def do(request: HttpRequest, wish: Wish, jobs: QuerySet[Job]) -> Done:
    """Do it to those of ``jobs`` that it can be done to, now."""
    deed = DEEDS[wish.deed]
    by = request.user.get_username()
    with get_engine().transaction():
        chosen = lock(jobs)
        fitting = [
            job
            for job in chosen
            if job.status in deed.statuses and (wish.deed != "retry" or can_retry(job))
        ]
        counts = deed.do(_rows(fitting), by=by, **wish.options)
        _log(request, wish, fitting)
    return Done(counts, left=len(chosen) - len(fitting))


def _log(request: HttpRequest, wish: Wish, jobs: Iterable[Job]) -> None:
    flag = DELETION if wish.deed == "delete" else CHANGE
    asked: list[Job] = []
    others: list[Job] = []
    for job in jobs:
        is_asked = wish.deed == "cancel" and job.status == Status.RUNNING
        (asked if is_asked else others).append(job)
    log(request, asked, _("Asked to stop."))
    log(request, others, wish.note, flag)


def leave_to_a_job(
    request: HttpRequest, wish: Wish, selection: Selection, which: str
) -> UUID:
    """Have it done by a job, to all jobs of ``selection`` that there are now.

    Args:
        which: the jobs, in words.

    Returns:
        The id of the job that does it.
    """
    name = f"{wish.note} {capfirst(which)}"
    task = housekeeping.sweep.using(
        creator=request.user, verbose_name=Truncator(name).chars(NAME_LIMIT)
    )
    result = task.enqueue(
        wish.deed,
        selection.as_params(),
        dict(wish.options),
        by=request.user.get_username(),
        asked_at=get_engine().now().isoformat(),
        upto=str(new_id()),
        sees_arguments=may(request, VIEW_ARGUMENTS),
    )
    job = Job(pk=UUID(result.id), task=task.path)
    log(
        request,
        [job],
        _("{deed} All that match: {which}.").format(deed=wish.note, which=which),
    )
    return job.pk


def lock(jobs: QuerySet[Job]) -> list[Job]:
    """``jobs`` as they will stay until the transaction ends.

    Locked in the order of their keys, as everywhere, so that none deadlock.
    """
    rows = jobs.using(get_engine().alias).order_by("pk").select_for_update()
    return list(rows.only("task", "status", "finished_at"))


def _rows(jobs: Iterable[Job]) -> JobQuerySet:
    return Job.objects.filter(pk__in=[job.pk for job in jobs])
