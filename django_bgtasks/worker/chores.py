"""What a worker does for the tables now and then, besides running jobs."""

from __future__ import annotations

from uuid import UUID

from django.db import DatabaseError

from django_bgtasks.conf import get_settings
from django_bgtasks.signals import logger
from django_bgtasks.store import maintenance, workers
from django_bgtasks.worker.clock import Clock
from django_bgtasks.worker.settling import may_pass
from django_bgtasks.worker.timer import Timer

HEARTBEAT_INTERVAL = 10.0
PRUNE_INTERVAL = 300.0


class Chores:
    """Heartbeats, promoting what is due, pruning what is old.

    Args:
        worker: the id of the worker that does them.
        clock: tells the time of the database.
    """

    def __init__(self, worker: UUID, clock: Clock) -> None:
        settings = get_settings()
        self._worker = worker
        self._clock = clock
        self._retention = settings.retention
        self._heartbeat = Timer(HEARTBEAT_INTERVAL, clock.monotonic, rest_first=True)
        #: When to look for due jobs.
        self.promotion = Timer(settings.poll_interval.total_seconds(), clock.monotonic)
        self._prune = Timer(PRUNE_INTERVAL, clock.monotonic)

    def do_what_is_due(self, *, stopping: bool) -> None:
        """One look at each of them; a worker that is stopping deletes no more."""
        if self._heartbeat.is_due():
            self._clock.sync()
            workers.beat(self._worker, self._clock.now())
        if self.promotion.is_due():
            self.promote()
        if not stopping and self._prune.is_due():
            self._prune_a_batch()

    def promote(self) -> int:
        """Make due jobs ready, and come back when the next ones are.

        Returns:
            How many there were.
        """
        now = self._clock.now()
        promoted = maintenance.promote(now)
        next_due = maintenance.next_due(now)
        if promoted == maintenance.BATCH:
            self.promotion.make_due_in(0)
        elif next_due is not None:
            self.promotion.make_due_in((next_due - now).total_seconds())
        return promoted

    def _prune_a_batch(self) -> None:
        try:
            pruned = maintenance.prune(self._clock.now(), self._retention)
        except DatabaseError as error:
            if may_pass(error):
                raise
            # A table of the project's may hold on to its jobs. That is no reason to
            # do no work.
            logger.exception("Old jobs cannot be deleted")
            return
        if pruned == maintenance.BATCH:
            # There is more. One batch a round, so that jobs do not wait for it.
            self._prune.make_due_in(0)
