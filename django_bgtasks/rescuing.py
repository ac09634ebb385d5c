"""Taking back what dead workers left, for somebody who is no worker: one who looks on.

Workers do the same by themselves, see ``worker.rescue``. Should none be alive, nobody
else does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django_bgtasks.conf import get_settings
from django_bgtasks.exceptions import WorkerLost
from django_bgtasks.judgement import Judgement
from django_bgtasks.models import Job, Tally, Worker
from django_bgtasks.signals import job_lost
from django_bgtasks.store import lifecycle, measuring, tallies, workers
from django_bgtasks.store.engines import get_engine

#: Jobs that one transaction takes back.
BATCH = 500

#: What ended a job of a worker that is lost.
Verdict = Callable[[Job], WorkerLost]


def not_heard_of(worker: Worker, timeout: timedelta) -> Verdict:
    """What is said of each job of a worker that is lost."""
    how = f"The worker {worker} was not heard of for {timeout}"
    return lambda job: WorkerLost(how, job.attempt, job.max_attempts)


class Taken(NamedTuple):
    """What was taken back: from whom, and the jobs as they are now."""

    workers: list[Worker]
    jobs: list[Job]


def take_back(among: Collection[UUID], *, may_go_on: bool) -> Taken:
    """End what lost workers ran, by the exit that failures take, and delete their rows.

    Whoever was heard of meanwhile is left alone; so is one that another one takes
    care of. Every write is guarded by worker and run token.

    Args:
        among: ids of workers, with a row or without.
        may_go_on: whether jobs are tried again if their policy says so; else all fail.
    """
    now = get_engine().now()
    timeout = get_settings().heartbeat_timeout
    workers.register_missing(now, timeout)
    taken = workers.take_lost(now, timeout, among)
    jobs: list[Job] = []
    for lost in taken:
        verdict = not_heard_of(lost, timeout)
        left = lifecycle.running_jobs(lost.pk)
        for start in range(0, len(left), BATCH):
            batch = left[start : start + BATCH]
            jobs += _lose(batch, lost.pk, verdict, now, may_go_on=may_go_on)
        workers.deregister(lost.pk)
    return Taken(taken, jobs)


@dataclass(frozen=True)
class _Moment:
    """A clock that stands."""

    moment: datetime

    def now(self) -> datetime:
        return self.moment


def _lose(
    jobs: Sequence[Job], worker: UUID, verdict: Verdict, now: datetime, may_go_on: bool
) -> list[Job]:
    runs = [_run(job, verdict(job), now, may_go_on) for job in jobs]
    gone = lifecycle.finish(worker, [(job, outcome) for job, outcome, _ in runs], now)
    for job in gone:
        job_lost.send_robust(sender=Job, job=job)
    ids = {job.pk for job in gone}
    runs = [run for run in runs if run[0].pk not in ids]
    _count(runs, now)
    return [job for job, _, _ in runs]


def _run(job: Job, error: WorkerLost, now: datetime, may_go_on: bool) -> measuring.Run:
    judgement = Judgement(job, _Moment(now))
    outcome = judgement.lose(error, may_go_on=may_go_on)
    return job, outcome, judgement.duration


def _count(runs: Sequence[measuring.Run], now: datetime) -> None:
    minute = now.replace(second=0, microsecond=0)
    of_queues: dict[str, Tally] = {}
    measuring.count(
        runs,
        lambda queue: of_queues.setdefault(queue, Tally(queue=queue, minute=minute)),
    )
    tallies.write(list(of_queues.values()))
