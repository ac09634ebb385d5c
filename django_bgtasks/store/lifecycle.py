"""A job's changes of status: each verb one guarded write.

The guard is in the WHERE. A write that matches no row has lost: somebody else
changed the job first, and nothing more may be done about it here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import F
from django.db.models.functions import Coalesce, Greatest

from django_bgtasks.conf import get_settings
from django_bgtasks.context import Progress
from django_bgtasks.exceptions import as_timedelta
from django_bgtasks.models import Attempt, Job, JobQuerySet
from django_bgtasks.models.job import CANCELLER_LIMIT, Status, new_id
from django_bgtasks.outcomes import (
    Cancelled,
    Failed,
    Lost,
    Outcome,
    Released,
    Snoozed,
    Succeeded,
    TimedOut,
    Unknown,
    storable,
)
from django_bgtasks.store import wakeup
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.engines.base import Success, Want, running
from django_bgtasks.tasks import Task

#: How long a job stays away after a worker that does not know its task claimed it.
UNKNOWN_TASK_DELAY = timedelta(seconds=15)

#: What a task may ask for can be beyond the end of the calendar.
LONGEST_DELAY = timedelta(days=3650)

#: The columns that nobody has written anything of interest to yet.
_EMPTY_JOB: dict[str, Any] = {
    "attempt": 0,
    "run_token": 0,
    "cancel_requested_at": None,
    "cancel_requested_by": "",
    "started_at": None,
    "finished_at": None,
    "worker": None,
    "last_worker": None,
    "unknown_since": None,
    "schedule": None,
    "scheduled_for": None,
    "progress": None,
    "result": None,
}

#: A job whose run is over, and how it ended.
Ended = tuple[Job, Outcome]


def job_maker(
    task: Task[Any, Any], backend: str, now: datetime
) -> Callable[[list[Any], dict[str, Any]], Job]:
    """What makes new jobs of ``task``, not yet written, from plain JSON arguments.

    Options that the task leaves open are settled here, once: the row says all
    that a worker needs to know.

    Args:
        backend: the ``TASKS`` alias through which they come.
        now: the time.
    """
    settings = get_settings()
    alias = get_engine().alias
    due = task.run_after is None or task.run_after <= now
    timeout = settings.timeout if task.timeout is None else as_timedelta(task.timeout)
    columns = {
        **_EMPTY_JOB,
        "task": task.path,
        "queue": task.queue_name,
        "priority": task.priority,
        "status": Status.READY if due else Status.SCHEDULED,
        "backend": backend,
        "max_attempts": task.max_attempts or settings.max_attempts,
        "timeout": None if timeout is None else timeout.total_seconds(),
        "on_lost": task.on_lost,
        "run_after": task.run_after,
        "enqueued_at": now,
    }

    def make(args: list[Any], kwargs: dict[str, Any]) -> Job:
        return Job.from_columns(
            alias, {**columns, "id": new_id(), "args": args, "kwargs": kwargs}
        )

    return make


def enqueue(jobs: Sequence[Job]) -> None:
    """Write new jobs, in the caller's transaction if there is one."""
    engine = get_engine()
    queues = {job.queue for job in jobs if job.status == Status.READY}
    if queues and len(jobs) == 1 and wakeup.commits_at_once(engine):
        wakeup.insert_and_call(engine, jobs[0])
        return
    engine.insert(jobs)
    call_workers(jobs)


def call_workers(jobs: Sequence[Job]) -> None:
    """Let workers know of new jobs, when the transaction commits."""
    for queue in {job.queue for job in jobs if job.status == Status.READY}:
        wakeup.call(queue)
    if any(_is_due_before_anybody_looks(job) for job in jobs):
        wakeup.call()


def _is_due_before_anybody_looks(job: Job) -> bool:
    if job.status != Status.SCHEDULED or job.run_after is None:
        return False
    return job.run_after - job.enqueued_at < get_settings().poll_interval


def claim(worker: UUID, want: Want, now: datetime) -> list[Job]:
    """Take READY jobs for ``worker``: the urgent first, then the old.

    Args:
        now: the time by the database's clock.
    """
    return get_engine().claim(want, worker, now)


def finish(worker: UUID, ended: Sequence[Ended], now: datetime) -> list[Job]:
    """Record how runs ended, all in one transaction.

    Args:
        ended: jobs as they were claimed, each with its outcome.
        now: the time by the database's clock.

    Returns:
        The jobs that ``worker`` had lost meanwhile; about them nothing was written.
    """
    engine = get_engine()
    successes, others = _in_order_of_keys(ended)
    with engine.transaction():
        lost = engine.finish_successful(successes, worker, now)
        attempts = []
        for job, outcome in others:
            if _leave_running(job, outcome, worker, engine.alias, now):
                attempts += _attempt_rows(job, outcome, worker, now)
            else:
                # Unless its success is there already: of an atomic run, whose thread
                # was not told of the commit.
                lost += engine.not_recorded([job], worker)
        Attempt.objects.using(engine.alias).bulk_create(attempts)
    return lost


def finish_and_claim(
    worker: UUID, ended: Sequence[Ended], want: Want, now: datetime
) -> tuple[list[Job], list[Job]]:
    """``finish`` for runs that all Succeeded, and ``claim``, in one transaction.

    Returns:
        The jobs that were lost, and those that were claimed.
    """
    successes, _ = _in_order_of_keys(ended)
    return get_engine().finish_and_claim(successes, want, worker, now)


def _in_order_of_keys(ended: Sequence[Ended]) -> tuple[list[Success], list[Ended]]:
    """Successes with their values, and what ended otherwise.

    In the order of their keys, as cancel() does it, so that two rarely stand in each
    other's way. Where they do, the worker tries again.
    """
    ended = sorted(ended, key=lambda pair: pair[0].pk.int)
    successes = [(job, o.value) for job, o in ended if isinstance(o, Succeeded)]
    others = [pair for pair in ended if not isinstance(pair[1], Succeeded)]
    return successes, others


def _leave_running(
    job: Job, outcome: Outcome, worker: UUID, alias: str, now: datetime
) -> bool:
    changes = _changes(job, outcome, now)
    row = running(job, worker, alias)
    # Let the object say what is written into its row.
    job.status = changes["status"]
    if "finished_at" in changes:
        return bool(row.update(worker=None, **changes))
    # It would come back; not if somebody cancelled it while it ran.
    if row.filter(cancel_requested_at=None).update(worker=None, **changes):
        return True
    changes |= {"status": Status.CANCELLED, "finished_at": now}
    job.status = Status.CANCELLED
    return bool(row.update(worker=None, **changes))


def _changes(job: Job, outcome: Outcome, now: datetime) -> dict[str, Any]:
    match outcome:
        case Failed(retry_in=None) | TimedOut(retry_in=None) | Lost(retry_in=None):
            return {"status": Status.FAILED, "finished_at": now}
        case (
            Failed(retry_in=timedelta() as delay)
            | TimedOut(retry_in=timedelta() as delay)
            | Lost(retry_in=timedelta() as delay)
        ):
            return _wait(now, delay)
        case Cancelled():
            return {"status": Status.CANCELLED, "finished_at": now}
        case Snoozed(delay=delay):
            return {**_wait(now, delay), "attempt": F("attempt") - 1}
        case Unknown():
            return {
                **_wait(now, UNKNOWN_TASK_DELAY),
                "attempt": F("attempt") - 1,
                "unknown_since": Coalesce(F("unknown_since"), now),
            }
        case Released():
            return {
                "status": Status.READY,
                "attempt": F("attempt") - 1,
                "unknown_since": None,
            }
        case _:
            raise TypeError(f"{outcome!r} is no outcome that leaves RUNNING.")


def _wait(now: datetime, delay: timedelta) -> dict[str, Any]:
    until = now + min(delay, LONGEST_DELAY)
    return {"status": Status.SCHEDULED, "run_after": until, "unknown_since": None}


def _attempt_rows(
    job: Job, outcome: Outcome, worker: UUID, now: datetime
) -> list[Attempt]:
    match outcome:
        case Failed(error=error):
            ending = Attempt.Ending.FAILED
        case TimedOut(error=error):
            ending = Attempt.Ending.TIMED_OUT
        case Lost(error=error):
            ending = Attempt.Ending.LOST
        case Cancelled(error=error):
            ending = Attempt.Ending.CANCELLED
        case _:
            return []
    return [
        Attempt(
            job=job,
            number=job.attempt,
            ending=ending,
            worker=worker,
            started_at=job.started_at or now,
            finished_at=now,
            exception_class_path=error.exception_class_path,
            error=error.summary,
            traceback=error.traceback,
        )
    ]


def running_jobs(worker: UUID) -> list[Job]:
    """The jobs that ``worker`` has, by their rows."""
    return list(Job.objects.using(get_engine().alias).filter(worker=worker))


def hand_over(
    jobs: Collection[UUID], worker: UUID, successor: UUID, now: datetime
) -> int:
    """Give runs of a dead worker to another one, which will run those jobs anew.

    Args:
        jobs: their ids.
        now: the time by the database's clock.

    Returns:
        How many of them were still the dead worker's.
    """
    rows = Job.objects.using(get_engine().alias)
    return rows.filter(worker=worker, pk__in=jobs).update(
        worker=successor,
        last_worker=successor,
        run_token=F("run_token") + 1,
        started_at=now,
    )


def report_progress(job: Job, progress: Progress) -> bool:
    """Write how far a running job is.

    Returns:
        False if the job was lost to its worker; then nothing was written.
    """
    return bool(running(job, job.worker, get_engine().alias).update(progress=progress))


class CancelCounts(NamedTuple):
    """What ``cancel`` did: jobs ended at once, and running ones asked to stop."""

    cancelled: int
    asked: int


def cancel(
    jobs: JobQuerySet, *, by: str = "", now: datetime | None = None
) -> CancelCounts:
    """Cancel those of ``jobs`` that are not finished.

    Waiting ones are CANCELLED at once. Running ones are asked, and their worker stops
    them within about a second.

    Args:
        by: who wants it.
        now: the time by the database's clock, if it is known.
    """
    engine = get_engine()
    moment = now or engine.now()
    wish = {
        "cancel_requested_at": moment,
        "cancel_requested_by": storable(by)[:CANCELLER_LIMIT],
    }
    unfinished = jobs.using(engine.alias).unfinished().order_by("pk")
    with engine.transaction():
        locked = unfinished.select_for_update().values_list("pk", "status")
        status_of = dict(locked)
        rows = Job.objects.using(engine.alias)
        asked = [pk for pk, status in status_of.items() if status == Status.RUNNING]
        waiting = [pk for pk, status in status_of.items() if status != Status.RUNNING]
        rows.filter(pk__in=waiting).update(
            status=Status.CANCELLED, finished_at=moment, **wish
        )
        # Who asked first is kept.
        rows.filter(pk__in=asked, cancel_requested_at=None).update(**wish)
        return CancelCounts(cancelled=len(waiting), asked=len(asked))


def cancel_requests(workers: Collection[UUID]) -> list[UUID]:
    """Ids of the jobs that these workers run and somebody wants stopped."""
    rows = Job.objects.using(get_engine().alias).filter(worker__in=workers)
    asked = rows.filter(cancel_requested_at__isnull=False)
    return list(asked.values_list("pk", flat=True))


def retry(jobs: JobQuerySet) -> int:
    """Make those of ``jobs`` that FAILED or were CANCELLED ready for one more attempt.

    Returns:
        How many there were.
    """
    retried = (
        jobs.using(get_engine().alias)
        .filter(status__in=(Status.FAILED, Status.CANCELLED))
        .update(
            status=Status.READY,
            max_attempts=Greatest(F("max_attempts"), F("attempt") + 1),
            run_after=None,
            finished_at=None,
            cancel_requested_at=None,
            cancel_requested_by="",
            unknown_since=None,
            progress=None,
        )
    )
    if retried:
        wakeup.call()
    return retried
