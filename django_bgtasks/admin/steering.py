"""What a user of the admin does to jobs: by the store, and with a log entry each.

The jobs are locked first, so that what is said and logged is what happened, and no
worker claims one in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _

from django_bgtasks.admin.reporting import log
from django_bgtasks.models import Job, JobQuerySet
from django_bgtasks.models.job import Status
from django_bgtasks.store.engines import get_engine


@dataclass(frozen=True)
class Retried:
    """How many jobs get another attempt, and how many were left as they were."""

    retried: int
    left: int


@dataclass(frozen=True)
class Cancelled:
    """How many jobs ended, how many were asked to, how many had ended before."""

    cancelled: int
    asked: int
    left: int


def can_retry(job: Job) -> bool:
    """Whether another attempt can be given to the job as it is now."""
    return job.status in (Status.FAILED, Status.CANCELLED)


def can_cancel(job: Job) -> bool:
    """Whether the job as it is now has an end to be brought about."""
    return not job.is_finished


def retry(request: HttpRequest, jobs: QuerySet[Job]) -> Retried:
    """Retry those of ``jobs`` that FAILED or were CANCELLED."""
    with get_engine().transaction():
        chosen = lock(jobs)
        failed = [job for job in chosen if can_retry(job)]
        _rows(failed).retry()
        log(request, failed, _("Retried."))
    return Retried(len(failed), left=len(chosen) - len(failed))


def cancel(request: HttpRequest, jobs: QuerySet[Job]) -> Cancelled:
    """Cancel those of ``jobs`` that are not finished; running ones are asked to stop."""
    with get_engine().transaction():
        chosen = lock(jobs)
        unfinished = [job for job in chosen if can_cancel(job)]
        counts = _rows(unfinished).cancel(by=request.user.get_username())
        running = [job for job in unfinished if job.status == Status.RUNNING]
        waiting = [job for job in unfinished if job.status != Status.RUNNING]
        log(request, running, _("Asked to stop."))
        log(request, waiting, _("Cancelled."))
    return Cancelled(*counts, left=len(chosen) - len(unfinished))


def lock(jobs: QuerySet[Job]) -> list[Job]:
    """``jobs`` as they will stay until the transaction ends.

    Locked in the order of their keys, as everywhere, so that none deadlock.
    """
    rows = jobs.using(get_engine().alias).order_by("pk").select_for_update()
    return list(rows.only("task", "status", "finished_at"))


def _rows(jobs: Iterable[Job]) -> JobQuerySet:
    return Job.objects.filter(pk__in=[job.pk for job in jobs])
