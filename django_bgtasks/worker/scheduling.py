"""Enqueueing periodic jobs when they are due, in a worker's loop or the scheduler's."""

from __future__ import annotations

from datetime import datetime

from django.db import DatabaseError

from django_bgtasks.backend import announce
from django_bgtasks.conf import get_settings
from django_bgtasks.periodic import declared
from django_bgtasks.signals import logger
from django_bgtasks.store import schedules
from django_bgtasks.store.engines import get_engine
from django_bgtasks.worker.clock import Clock
from django_bgtasks.worker.timer import Timer

#: Seconds between two looks whether schedules with a problem have it no more. Shorter
#: than a tick may be late: in a deploy, others may not know what is known here.
RECHECK_INTERVAL = 10.0
#: Seconds until the next look where there are many of them.
NEXT_RECHECK = 0.5
#: How often it is tried to write what is declared while others write to the rows.
SYNC_TRIES = 5


def sync_schedules(now: datetime) -> None:
    """Write what settings and code declare into the schedules' rows.

    Args:
        now: the time by the database's clock.
    """
    for name, problem in _sync(now).items():
        _log_problem(name, problem)


def _sync(now: datetime) -> dict[str, str]:
    for _ in range(SYNC_TRIES - 1):
        try:
            return schedules.sync(declared(), now)
        except DatabaseError as error:
            # Somebody else was writing to them: another process that starts, for one.
            if not get_engine().is_conflict(error):
                raise
    return schedules.sync(declared(), now)


class Scheduling:
    """Looks for ticks that are due, as soon as they are.

    Args:
        clock: tells the time of the database.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        interval = get_settings().poll_interval.total_seconds()
        #: When to look. At least so often, for anybody may change a schedule.
        self.timer = Timer(interval, clock.monotonic)
        self._recheck = Timer(RECHECK_INTERVAL, clock.monotonic)
        #: The last one that was looked at, if there are many.
        self._rechecked = ""

    def do_what_is_due(self) -> int:
        """Look, if it is time, and enqueue the jobs of the ticks that are due.

        Returns:
            How many schedules were due.
        """
        if not self.timer.is_due():
            return 0
        now = self._clock.now()
        if self._recheck.is_due():
            healed, self._rechecked = schedules.recheck(self._rechecked)
            for name in healed:
                logger.info("The schedule %s has no problem any more", name)
            if self._rechecked:
                self._recheck.make_due_in(NEXT_RECHECK)
        due = schedules.next_due()
        if due is None:
            return 0
        if due > now:
            self.timer.make_due_in((due - now).total_seconds())
            return 0
        looked_at = self._enqueue_due(now)
        if looked_at:
            # There may be more, and another tick may come before the next look. Not
            # if another scheduler is at them.
            self.timer.make_due_in(0)
        return looked_at

    def _enqueue_due(self, now: datetime) -> int:
        round_ = schedules.enqueue_due(now)
        for job in round_.jobs:
            logger.info(
                "%s is due: %s %s",
                job.schedule,
                job.task,
                job.pk,
                extra={"schedule": job.schedule, "job_id": str(job.pk)},
            )
        for name in round_.overlaps:
            logger.info("%s is due, but its last job is not finished: no new one", name)
        for name in round_.missed:
            logger.warning("%s has missed runs that are not made up for", name)
        for name, problem in round_.problems.items():
            _log_problem(name, problem)
        announce(round_.jobs)
        return round_.looked_at


def _log_problem(name: str, problem: str) -> None:
    logger.error(
        "The schedule %s is passed over: %s", name, problem, extra={"schedule": name}
    )
