"""Whether all is well, by what an overview shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.utils.translation import gettext as _

from django_bgtasks.store.overview import COUNT_LIMIT, Overview, QueueState
from django_bgtasks.store.workers import claims_from, is_claiming
from django_bgtasks.wording import duration, moment


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """What is too much, or too little; None: nobody minds.

    Args:
        max_age: how long the oldest due job of a queue may wait.
        max_waiting: how many jobs that are due may wait on a queue.
        max_failed: how many jobs of a queue may have failed within the last hour.
        min_workers: how many workers have to be live.
    """

    max_age: timedelta | None = None
    max_waiting: int | None = None
    max_failed: int | None = None
    min_workers: int | None = None

    @property
    def count_limit(self) -> int:
        """How far an overview has to count for these."""
        return max(COUNT_LIMIT, (self.max_waiting or 0) + 1, (self.max_failed or 0) + 1)


def complaints(overview: Overview, thresholds: Thresholds) -> list[str]:
    """What is wrong, as sentences; none if all is well.

    Whatever the thresholds, it is wrong if jobs wait on a queue that is not paused and
    no live worker works on it, if a schedule has a problem, and if one is so late that
    no scheduler can be running.
    """
    return [
        *_about_workers(overview, thresholds),
        *(
            complaint
            for queue in overview.queues
            for complaint in _about_queue(queue, overview, thresholds)
        ),
        *_about_schedules(overview),
    ]


def _about_workers(overview: Overview, thresholds: Thresholds) -> Iterator[str]:
    live = sum(worker.is_live for worker in overview.workers)
    if thresholds.min_workers is not None and live < thresholds.min_workers:
        text = _("Live workers: {count}; there should be at least {least}.")
        yield text.format(count=live, least=thresholds.min_workers)


def _about_queue(
    queue: QueueState, overview: Overview, thresholds: Thresholds
) -> Iterator[str]:
    # Why they wait, if that was somebody's wish.
    note = ""
    if queue.paused_at is not None:
        since = moment(queue.paused_at)
        note = " " + _("It has been paused since {time}.").format(time=since)
    elif queue.waiting and not _has_worker(queue, overview):
        text = _("Jobs wait on queue {queue}, and no live worker works on it.")
        yield text.format(queue=queue.name)
    age = overview.now - (queue.oldest_due or overview.now)
    if thresholds.max_age is not None and age > thresholds.max_age:
        text = _("A job on queue {queue} has waited for {age}, longer than {most}.")
        most = duration(thresholds.max_age)
        yield text.format(queue=queue.name, age=duration(age), most=most) + note
    if _exceeds(queue.waiting, thresholds.max_waiting):
        text = _("More than {most} jobs wait on queue {queue}.")
        yield text.format(queue=queue.name, most=thresholds.max_waiting) + note
    if _exceeds(queue.failed, thresholds.max_failed):
        text = _("More than {most} jobs of queue {queue} failed within an hour.")
        yield text.format(queue=queue.name, most=thresholds.max_failed)


def _has_worker(queue: QueueState, overview: Overview) -> bool:
    return any(
        worker.is_live
        and is_claiming(worker.instruction)
        and claims_from(worker.queues, queue.name)
        for worker in overview.workers
    )


def _exceeds(number: int, most: int | None) -> bool:
    return most is not None and number > most


def _about_schedules(overview: Overview) -> Iterator[str]:
    for schedule in overview.schedules:
        if schedule.problem:
            text = _("Schedule {name} has a problem: {problem}")
            yield text.format(name=schedule.name, problem=schedule.problem)
        elif schedule.is_late and schedule.next_due is not None:
            text = _(
                "Schedule {name} has been due for {age}: is a worker or a scheduler "
                "running?"
            )
            age = duration(overview.now - schedule.next_due)
            yield text.format(name=schedule.name, age=age)
