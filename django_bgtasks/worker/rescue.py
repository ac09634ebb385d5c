"""Taking back the jobs of workers that are no more."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django_bgtasks.conf import get_settings
from django_bgtasks.judgement import Judgement
from django_bgtasks.models import Job
from django_bgtasks.outcomes import Released
from django_bgtasks.rescuing import BATCH, not_heard_of
from django_bgtasks.signals import logger
from django_bgtasks.store import lifecycle, workers
from django_bgtasks.worker.clock import Clock
from django_bgtasks.worker.settling import Settler

#: What ended a job of a dead worker; None if the job had not begun.
Verdict = Callable[[Job], BaseException | None]


def rescue(worker: UUID, verdict: Verdict, clock: Clock) -> int:
    """End what a dead worker ran, by the exit that failures take, and delete its row.

    Every write is guarded by worker and run token. Should the worker not be dead after
    all, it finds that the jobs are not its own any more.

    Args:
        worker: its id.
        verdict: tells for each job what ended it.
        clock: tells the time of the database.

    Returns:
        How many jobs it had.
    """
    settler = Settler(worker, clock)
    jobs = lifecycle.running_jobs(worker)
    for start in range(0, len(jobs), BATCH):
        for job in jobs[start : start + BATCH]:
            error = verdict(job)
            if error is None:
                settler.add(job, Released())
            else:
                judgement = Judgement(job, clock)
                settler.add(job, judgement.lose(error), judgement.duration)
        settler.settle()
    settler.tallier.write()
    workers.deregister(worker)
    return len(jobs)


def rescue_lost(clock: Clock) -> None:
    """Take back the jobs of all workers that were not heard of for too long."""
    timeout = get_settings().heartbeat_timeout
    workers.register_missing(clock.now(), timeout)
    for lost in workers.take_lost(clock.now(), timeout):
        jobs = rescue(lost.pk, not_heard_of(lost, timeout), clock)
        logger.warning(
            "Worker %s was not heard of for %s; %s jobs were taken back from it",
            lost,
            timeout,
            jobs,
            extra={"worker_id": str(lost.pk)},
        )
