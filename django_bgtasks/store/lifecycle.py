"""A job's changes of status: each verb one guarded write.

The guard is in the WHERE. A write that matches no row has lost: somebody else
changed the job first, and nothing more may be done about it here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple, cast
from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, When
from django.db.models.functions import Coalesce, Greatest
from django.dispatch import Signal

from django_bgtasks._framework import InvalidTask
from django_bgtasks.conf import get_settings
from django_bgtasks.exceptions import as_timedelta
from django_bgtasks.models import Attempt, Job, JobQuerySet
from django_bgtasks.models.job import CANCELLER_LIMIT, Status, UniqueUntil, new_id
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
    storable,
)
from django_bgtasks.signals import jobs_cancelled, jobs_retried
from django_bgtasks.store import admission, wakeup
from django_bgtasks.store.admission import NO_POLICIES, Policies
from django_bgtasks.store.callers import transaction_elsewhere
from django_bgtasks.store.engines import Engine, get_engine
from django_bgtasks.store.engines.base import Success, Want, delete_jobs, running
from django_bgtasks.store.expiry import EXPIRED
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
    "unique_key": None,
    "unique_until": None,
    "unique_expires_at": None,
    "expires_at": None,
    "store_result": True,
    "retention": None,
    "verbose_name": "",
    "creator": None,
    "parent": None,
    "tags": (),
    "metadata": None,
    "progress": None,
    "result": None,
}

#: There is none before it.
_FIRST_ID = UUID(int=0)

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

    Raises:
        InvalidTask: the task expires before its time comes.
    """
    settings = get_settings()
    alias = get_engine().alias
    run_after = _moment_after(now, task.delay) if task.delay else task.run_after
    due = run_after is None or run_after <= now
    timeout = settings.timeout if task.timeout is None else as_timedelta(task.timeout)
    if due and task.unique and task.on_conflict == "debounce":
        raise InvalidTask(
            f"{task.path} debounces, and a call of it has no delay to begin anew; say "
            "delay=seconds, in the task or in using()."
        )
    said = _said(task, now, None if due else run_after)
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
        "run_after": run_after,
        "enqueued_at": now,
        **said,
        "said_columns": tuple(said),
    }

    def make(args: list[Any], kwargs: dict[str, Any]) -> Job:
        job = Job.from_columns(
            alias, {**columns, "id": new_id(), "args": args, "kwargs": kwargs}
        )
        if task.unique:
            job.unique_key = task.unique_key(args, kwargs)
        return job

    return make


def _said(
    task: Task[Any, Any], now: datetime, run_after: datetime | None
) -> dict[str, Any]:
    """The columns in which most tasks have nothing to say, of one that has."""
    if task.says_nothing_rare:
        return {}
    said: dict[str, Any] = {
        "expires_at": _expiry(task, now, run_after),
        "store_result": None if task.store_result else False,
        "retention": task.retention and as_timedelta(task.retention),
        "verbose_name": task.verbose_name,
        "creator": task.creator,
        "parent": task.parent,
        "tags": task.tags,
        "metadata": dict(task.metadata),
    }
    said = {
        name: value for name, value in said.items() if value not in (None, "", (), {})
    }
    if task.unique:
        said |= {"unique_key": None, **_uniqueness(task, now)}
    return said


def _expiry(
    task: Task[Any, Any], now: datetime, run_after: datetime | None
) -> datetime | None:
    if task.expires is None or isinstance(task.expires, datetime):
        moment = task.expires
    else:
        moment = _moment_after(now, task.expires)
    if moment is not None and run_after is not None and moment <= run_after:
        raise InvalidTask(
            f"A job of {task.path} would expire at {moment}, and not start before "
            f"{run_after}. expires counts from the enqueueing, not from the end of a "
            "delay."
        )
    return moment


def _uniqueness(task: Task[Any, Any], now: datetime) -> dict[str, Any]:
    if task.lets_go_when_started:
        return {"unique_until": UniqueUntil.STARTED}
    if task.unique_until in (None, "finished"):
        return {"unique_until": UniqueUntil.FINISHED}
    return {
        "unique_until": UniqueUntil.PERIOD,
        "unique_expires_at": _moment_after(now, cast("float", task.unique_until)),
    }


def _moment_after(now: datetime, delay: float | timedelta) -> datetime:
    return now + max(min(as_timedelta(delay), LONGEST_DELAY), timedelta(0))


def enqueue(jobs: Sequence[Job], policies: Policies = NO_POLICIES) -> Sequence[Job]:
    """Write new jobs, in the caller's transaction if there is one.

    If there is none in the jobs' own database but one in another, they are written when
    that has been committed, and until then nobody knows whether the like of a unique job
    is there.

    Args:
        policies: what becomes of a job that is unique where its like is there, by id.

    Returns:
        For each the job that stands for it: itself, or the one that is there.

    Raises:
        AlreadyEnqueued: there is one, and the policy is "raise".
    """
    engine = get_engine()
    elsewhere = transaction_elsewhere(engine.connection)
    if elsewhere is None:
        return _enqueue_now(engine, jobs, policies)
    enqueue_now = partial(_enqueue_now, engine, list(jobs), _without_raising(policies))
    transaction.on_commit(enqueue_now, using=elsewhere)
    return jobs


def _without_raising(policies: Policies) -> Policies:
    """``policies`` for when there is no caller any more who could be told."""
    return {
        key: "skip" if policy == "raise" else policy for key, policy in policies.items()
    }


def _enqueue_now(
    engine: Engine, jobs: Sequence[Job], policies: Policies
) -> Sequence[Job]:
    if not policies:
        _insert(engine, jobs)
        return jobs
    _insert(engine, [job for job in jobs if job.pk not in policies])
    admitted = admission.admit([job for job in jobs if job.pk in policies], policies)
    call_workers(list(admitted.values()))
    return [admitted.get(job.pk, job) for job in jobs]


def _insert(engine: Engine, jobs: Sequence[Job]) -> None:
    if not jobs:
        return
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


def claim_this(job: Job, worker: UUID, now: datetime) -> Job | None:
    """Take this very job for ``worker``, whatever waits before it.

    Args:
        now: the time by the database's clock.

    Returns:
        The job as it was claimed; None if it is not READY, or its queue is paused.
    """
    return get_engine().claim_this(job, worker, now)


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
    kept = [success for success in successes if success[0].store_result]
    with engine.transaction():
        lost = engine.finish_successful(kept, worker, now)
        if len(kept) < len(successes):
            gone = [job for job, _ in successes if not job.store_result]
            lost += engine.delete_successful(gone, worker)
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

    Not for jobs whose rows are not kept.

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
    ended = sorted(ended, key=lambda pair: pair[0].id.int)
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
        return bool(row.update(worker=None, **{"unique_key": None, **changes}))
    # It would come back; not if somebody cancelled it while it ran.
    if row.filter(cancel_requested_at=None).update(worker=None, **changes):
        return True
    changes |= {"status": Status.CANCELLED, "finished_at": now, "unique_key": None}
    changes.pop("progress", None)
    job.status = Status.CANCELLED
    return bool(row.update(worker=None, **changes))


#: Of a run that will be made again from the beginning. A snoozed job may go on instead.
_ANEW: dict[str, Any] = {"progress": None}


def _changes(job: Job, outcome: Outcome, now: datetime) -> dict[str, Any]:
    match outcome:
        case Failed(retry_in=None) | TimedOut(retry_in=None) | Lost(retry_in=None):
            return {"status": Status.FAILED, "finished_at": now}
        case (
            Failed(retry_in=timedelta() as delay)
            | TimedOut(retry_in=timedelta() as delay)
            | Lost(retry_in=timedelta() as delay)
        ):
            return {**_wait(now, delay), **_ANEW}
        case Cancelled():
            return {"status": Status.CANCELLED, "finished_at": now}
        case Expired():
            return {"finished_at": now, "attempt": F("attempt") - 1, **EXPIRED}
        case Snoozed(delay=delay):
            return {**_wait(now, delay), "attempt": F("attempt") - 1}
        case Unknown():
            return {
                **_wait(now, UNKNOWN_TASK_DELAY),
                "attempt": F("attempt") - 1,
                "unknown_since": Coalesce(F("unknown_since"), now),
            }
        case Released(has_begun=has_begun):
            return {
                "status": Status.READY,
                "attempt": F("attempt") - 1,
                "unknown_since": None,
                **(_ANEW if has_begun else {}),
            }
        case _:
            raise TypeError(f"{outcome!r} is no outcome that leaves RUNNING.")


def _wait(now: datetime, delay: timedelta) -> dict[str, Any]:
    return {
        "status": Status.SCHEDULED,
        "run_after": _moment_after(now, delay),
        "unknown_since": None,
    }


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
        **_ANEW,
    )


def write_running(job: Job, **notes: Any) -> bool:
    """Write what a running job says of itself: its progress, its metadata.

    Returns:
        False if the job was lost to its worker; then nothing was written.
    """
    return bool(running(job, job.worker, get_engine().alias).update(**notes))


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
            status=Status.CANCELLED, finished_at=moment, unique_key=None, **wish
        )
        # Who asked first is kept.
        rows.filter(pk__in=asked, cancel_requested_at=None).update(**wish)
        tell_of(jobs_cancelled, waiting, by=by)
        return CancelCounts(cancelled=len(waiting), asked=len(asked))


def tell_of(signal: Signal, ids: Sequence[UUID], **facts: Any) -> None:
    """Send ``signal`` about jobs when the transaction commits."""
    if ids and signal.receivers:
        send = partial(signal.send_robust, Job, ids=list(ids), **facts)
        transaction.on_commit(send, using=get_engine().alias)


def cancel_requests(workers: Collection[UUID], first: UUID = _FIRST_ID) -> list[UUID]:
    """Ids of the jobs that these workers run and somebody wants stopped.

    Args:
        first: no id that is asked about is below this. To know it spares what may be
            left of jobs that ran before.
    """
    rows = Job.objects.using(get_engine().alias)
    rows = rows.filter(worker__in=workers, pk__gte=first)
    asked = rows.filter(cancel_requested_at__isnull=False)
    return list(asked.values_list("pk", flat=True))


def retry(jobs: JobQuerySet) -> int:
    """Make those of ``jobs`` that FAILED or were CANCELLED ready for one more attempt.

    Returns:
        How many there were.
    """
    engine = get_engine()
    over = jobs.using(engine.alias).filter(status__in=(Status.FAILED, Status.CANCELLED))
    with engine.transaction():
        if jobs_retried.receivers:
            ids = list(
                over.order_by("pk").select_for_update().values_list("pk", flat=True)
            )
            over = Job.objects.using(engine.alias).filter(pk__in=ids)
            tell_of(jobs_retried, ids)
        retried = over.update(
            status=Status.READY,
            max_attempts=Greatest(F("max_attempts"), F("attempt") + 1),
            run_after=None,
            finished_at=None,
            cancel_requested_at=None,
            cancel_requested_by="",
            unknown_since=None,
            # Whoever does that wants it to run, however late it is.
            expires_at=None,
            **_ANEW,
        )
        if retried:
            wakeup.call()
    return retried


def run_now(jobs: JobQuerySet) -> int:
    """Make those of ``jobs`` READY that are SCHEDULED, whatever their time.

    Returns:
        How many there were.
    """
    engine = get_engine()
    scheduled = jobs.using(engine.alias).scheduled()
    with engine.transaction():
        ready = scheduled.update(status=Status.READY, run_after=engine.now())
        if ready:
            wakeup.call()
    return ready


def set_priority(jobs: JobQuerySet, priority: int) -> int:
    """Let those of ``jobs`` that are waiting be claimed earlier or later.

    Returns:
        How many there were.
    """
    waiting = jobs.using(get_engine().alias).waiting()
    with get_engine().transaction():
        return waiting.update(priority=priority)


def move(jobs: JobQuerySet, queue: str) -> int:
    """Have those of ``jobs`` that are waiting wait on another queue.

    Returns:
        How many there were.
    """
    waiting = jobs.using(get_engine().alias).waiting()
    with get_engine().transaction():
        moved = waiting.update(queue=queue)
        if moved:
            wakeup.call(queue)
    return moved


def reschedule(jobs: JobQuerySet, run_after: datetime) -> int:
    """Give those of ``jobs`` that are waiting another time; READY at once if it is past.

    Those that would expire before it no longer do.

    Returns:
        How many there were.
    """
    engine = get_engine()
    is_due = run_after <= engine.now()
    waiting = jobs.using(engine.alias).waiting()
    with engine.transaction():
        changed = waiting.update(
            status=Status.READY if is_due else Status.SCHEDULED,
            run_after=run_after,
            expires_at=Case(
                When(expires_at__gt=run_after, then=F("expires_at")), default=None
            ),
        )
        if changed:
            wakeup.call()
    return changed


def delete(jobs: JobQuerySet) -> int:
    """Delete those of ``jobs`` that are not running, with their attempts.

    Returns:
        How many there were.
    """
    engine = get_engine()
    others = jobs.using(engine.alias).exclude(status=Status.RUNNING).order_by("pk")
    with engine.transaction():
        ids = list(others.select_for_update().values_list("pk", flat=True))
        delete_jobs(Job.objects.using(engine.alias), ids)
    return len(ids)
