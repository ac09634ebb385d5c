"""Running what is due, in a test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.conf import settings
from django.utils import timezone

from django_bgtasks import timing
from django_bgtasks.models import Job
from django_bgtasks.results import TaskResult
from django_bgtasks.store import lifecycle, maintenance
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.engines.base import Want
from django_bgtasks.testing.inline import Runner
from django_bgtasks.worker.clock import Clock
from django_bgtasks.worker.scheduling import Scheduling, sync_schedules


class TooManyRuns(Exception):
    """There was no end of what is due.

    Args:
        limit: how many runs there were.
        following: what would run next.
    """

    def __init__(self, limit: int, following: Job) -> None:
        super().__init__(
            f"run_jobs() has run {limit} jobs, and there are more; the next is "
            f"{following}. Does a task enqueue itself again, or does it ask for no delay "
            "(Snooze(0), Retry(0), backoff=0 with many attempts)? If they are to be so "
            "many, say run_jobs(limit=...)."
        )


def run_jobs(
    *queues: str,
    now: datetime | timedelta | None = None,
    raise_errors: bool = True,
    limit: int = 1000,
    schedules: bool = False,
) -> list[TaskResult[Any, Any]]:
    """Run what is due, and what that enqueues, until nothing is: as a worker would.

    In this thread, on its connections: within the transaction of a ``TestCase``, too,
    and without anything to wait for. The urgent first, then the old, whichever queue
    they are on; paused queues rest.

    Args:
        queues: names of the queues to work on; none: all.
        now: when it shall be, as a datetime or as a timedelta from now on. That is the
            time by which jobs are due, enqueued and finished meanwhile, and it stands
            still.
        raise_errors: False: what tasks raise is only recorded.
        limit: how many runs there may be at the most.
        schedules: first enqueue the periodic jobs that are due then, as if the
            scheduler had started just now.

    Returns:
        A result for each job that was run, in the order of their first runs, as it was
        after its last one.

    Raises:
        BaseException: what a task has raised, after it was recorded: the job is
            FAILED, or will be tried again later. Not ``Cancel``, ``Snooze``, nor a
            ``Retry`` that there will be.
        UnknownTask: nobody knows the task of a job.
        TooManyRuns: ``limit`` is reached and there are more to run.
    """
    if wrong := [name for name in queues if not isinstance(name, str)]:
        raise TypeError(
            f"run_jobs() was given {wrong[0]!r}; it takes names of queues: "
            "run_jobs('mail', 'slow'). All else are keywords."
        )
    present, moment = timing.now(), _moment(now)
    results: dict[str, TaskResult[Any, Any]] = {}
    with closing(Runner()) as runner:
        if schedules:
            sync_schedules(present)
        with timing.stopped_at(moment):
            if schedules:
                _enqueue_ticks(runner.clock)
            for job in _claimed(queues, runner.worker, limit):
                run = runner.run(job)
                if run.result is not None:
                    results[run.result.id] = run.result
                run.raise_error(all_errors=raise_errors)
    return list(results.values())


async def arun_jobs(
    *queues: str,
    now: datetime | timedelta | None = None,
    raise_errors: bool = True,
    limit: int = 1000,
    schedules: bool = False,
) -> list[TaskResult[Any, Any]]:
    """``run_jobs`` for ``async`` tests."""
    return await sync_to_async(run_jobs)(
        *queues, now=now, raise_errors=raise_errors, limit=limit, schedules=schedules
    )


def _claimed(queues: Sequence[str], worker: UUID, limit: int) -> Iterator[Job]:
    """Claim one job after the other, as long as any is due.

    Raises:
        TooManyRuns: there are more than ``limit``.
    """
    for turn in count():
        first = _first_in_line(queues)
        if first is None:
            return
        if turn >= limit:
            raise TooManyRuns(limit, first)
        yield from lifecycle.claim(worker, Want(first.queue, 1), timing.now())


def _first_in_line(queues: Sequence[str]) -> Job | None:
    """The job whose turn it is, if any is due.

    A worker takes turns between queues; here their jobs stand in one line, so that a
    test can tell what comes when.
    """
    while maintenance.promote(timing.now()) == maintenance.BATCH:
        pass
    engine = get_engine()
    ready = Job.objects.using(engine.alias).ready()
    line = ready.on_queue(*engine.ready_queues(queues)).order_by("-priority", "pk")
    return line.first()


def _enqueue_ticks(clock: Clock) -> None:
    scheduling = Scheduling(clock)
    while scheduling.do_what_is_due():
        pass


def _moment(now: datetime | timedelta | None) -> datetime:
    match now:
        case None:
            return timing.now()
        case timedelta():
            return timing.now() + now
        case datetime() if timezone.is_aware(now) == settings.USE_TZ:
            return now
        case datetime():
            kind = (
                "aware, as USE_TZ is on"
                if settings.USE_TZ
                else "naive, as USE_TZ is off"
            )
            raise ValueError(f"now is {now!r}; it must be {kind}.")
    raise TypeError(
        f"now is {now!r}; it must be a datetime, or a timedelta from now on."
    )
