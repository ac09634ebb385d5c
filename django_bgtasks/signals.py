"""What happens to jobs and workers, announced; and the receivers that log it.

Django's own ``task_enqueued``, ``task_started`` and ``task_finished`` are sent as
well. All log lines go to the logger "django_bgtasks", with the facts of the line as
``extra``: ``job_id``, ``task``, ``queue``, ``attempt``, ``duration`` in seconds.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.dispatch import Signal, receiver

from django_bgtasks.outcomes import (
    Cancelled,
    Expired,
    Failed,
    Lost,
    Outcome,
    Released,
    Snoozed,
    Succeeded,
    TimedOut,
    Unknown,
)

if TYPE_CHECKING:
    from django_bgtasks.models import Job, Worker

logger = logging.getLogger("django_bgtasks")

#: A job was enqueued, in the transaction that enqueues it; sent with ``job``.
job_enqueued = Signal(use_caching=True)
#: An attempt begins; sent with ``job``, from the thread that runs a plain function.
job_started = Signal(use_caching=True)
#: An attempt is over and its outcome not yet written; sent with ``job``, ``outcome``
#: and ``duration`` in seconds, from the same thread as ``job_started``.
job_ended = Signal(use_caching=True)
#: A worker could not record an outcome, for the job is no longer its own; sent with
#: ``job``.
job_lost = Signal()
#: Waiting jobs were cancelled, and that is committed; sent with ``ids`` and ``by``, who
#: wanted it: empty if they had expired. Of running jobs, ``job_ended`` tells.
jobs_cancelled = Signal()
#: Finished jobs were made ready for one more attempt, and that is committed; sent with
#: ``ids``.
jobs_retried = Signal()
#: A worker begins to claim jobs; sent with ``worker``, its row.
worker_started = Signal()
#: A worker has ended; sent with ``worker``, the row that it had.
worker_stopped = Signal()


def is_heard(signal: Signal, level: int) -> bool:
    """Whether anybody listens to ``signal`` but this module, or a line is logged.

    To be asked where signals are sent tens of thousands of times a second.

    Args:
        level: of the line.
    """
    return len(signal.receivers) > 1 or logger.isEnabledFor(level)


@receiver(job_started)
def _log_job_started(*, job: Job, **kwargs: Any) -> None:
    logger.debug("%s %s started", job.task, job.pk, extra=_facts(job))


@receiver(job_ended)
def _log_job_ended(
    *, job: Job, outcome: Outcome, duration: float, **kwargs: Any
) -> None:
    level, told = _tell(job, outcome)
    if logger.isEnabledFor(level):
        logger.log(
            level,
            "%s %s [%.3f s] %s",
            job.task,
            job.pk,
            duration,
            told,
            extra={**_facts(job), "duration": duration},
        )


@receiver(job_lost)
def _log_job_lost(*, job: Job, **kwargs: Any) -> None:
    logger.warning(
        "%s %s ended, but was no longer this worker's; its outcome is dropped",
        job.task,
        job.pk,
        extra=_facts(job),
    )


@receiver(worker_started)
def _log_worker_started(*, worker: Worker, **kwargs: Any) -> None:
    logger.info(
        "Worker %s started: queues %s, %s threads",
        worker,
        ", ".join(worker.queues) or "all",
        worker.threads,
        extra={"worker_id": str(worker.pk)},
    )


@receiver(worker_stopped)
def _log_worker_stopped(*, worker: Worker, **kwargs: Any) -> None:
    logger.info("Worker %s stopped", worker, extra={"worker_id": str(worker.pk)})


def _tell(job: Job, outcome: Outcome) -> tuple[int, str]:
    match outcome:
        case Succeeded():
            return logging.INFO, "succeeded"
        case Failed() | TimedOut() | Lost():
            return _tell_failure(job, outcome)
        case Snoozed(delay=delay):
            return logging.INFO, f"snoozed for {delay.total_seconds():.1f} s"
        case Cancelled(error=error):
            return logging.INFO, f"was cancelled: {error.summary}"
        case Expired():
            return logging.WARNING, f"was not begun before {job.expires_at}; cancelled"
        case Unknown():
            return logging.WARNING, (
                "is no task that this worker knows; put back. A task is known when its "
                "module is the tasks.py of an installed app or is listed in "
                "BGTASKS['IMPORTS']"
            )
        case Released():
            return logging.INFO, "handed back"


def _tell_failure(job: Job, outcome: Failed | TimedOut | Lost) -> tuple[int, str]:
    told = f"failed (attempt {job.attempt} of {job.max_attempts})"
    if outcome.retry_in is None:
        return logging.ERROR, f"{told}: {outcome.error.summary}"
    again = f"again in {outcome.retry_in.total_seconds():.1f} s"
    return logging.WARNING, f"{told}, {again}: {outcome.error.summary}"


def _facts(job: Job) -> dict[str, Any]:
    return {
        "job_id": str(job.pk),
        "task": job.task,
        "queue": job.queue,
        "attempt": job.attempt,
    }
