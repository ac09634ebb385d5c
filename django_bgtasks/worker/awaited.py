"""Whom a worker calls when a job has ended: only those who said that they wait for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

from django.db import DatabaseError, InterfaceError

from django_bgtasks.models import Job
from django_bgtasks.models.job import Status
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.watching import REMINDER_INTERVAL
from django_bgtasks.worker.ears import Ears

#: Seconds for which a job counts as awaited if nobody reminds the worker of it.
MEMORY = 3 * REMINDER_INTERVAL
#: Jobs that are remembered. Who waits for one that is not learns of its end by looking.
MOST = 10_000


class Awaited:
    """Jobs for whose end somebody waits, as far as this worker has heard.

    Args:
        ears: hear of them.
        monotonic: the clock.
    """

    def __init__(self, ears: Ears, monotonic: Callable[[], float]) -> None:
        self._ears = ears
        self._monotonic = monotonic
        #: Until when, by the number of the job's id; the oldest first.
        self._until: dict[int, float] = {}

    def listen(self) -> None:
        """Take note of what was heard, and forget what nobody reminds of."""
        heard = self._ears.awaited()
        if not (heard or self._until):
            return
        now = self._monotonic()
        for text in heard:
            with suppress(ValueError):  # anybody can notify of anything
                number = int(text, 16)
                self._until.pop(number, None)
                self._until[number] = now + MEMORY
        while self._until:
            oldest = next(iter(self._until))
            if len(self._until) <= MOST and self._until[oldest] > now:
                break
            del self._until[oldest]

    def tell(self, jobs: Iterable[Job]) -> None:
        """Wake those who wait for one of these jobs, if its end is written."""
        self.listen()
        if not self._until:
            return
        awaited = [job for job in jobs if job.id.int in self._until]
        ended = [job.id for job in awaited if not _will_run_again(job)]
        if ended:
            # If they cannot be told, they will see it.
            with suppress(DatabaseError, InterfaceError):
                get_engine().tell_ended([job_id.hex for job_id in ended])
            for job_id in ended:
                self._until.pop(job_id.int, None)


def _will_run_again(job: Job) -> bool:
    # Of a success, which is written past the object, it still says RUNNING.
    return job.status in (Status.SCHEDULED, Status.READY)
