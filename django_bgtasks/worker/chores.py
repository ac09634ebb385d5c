"""What a worker does for the tables now and then, besides running jobs."""

from __future__ import annotations

from uuid import UUID

from django.db import DatabaseError, InterfaceError

from django_bgtasks.conf import get_settings
from django_bgtasks.signals import logger
from django_bgtasks.store import maintenance, queues, tallies, workers
from django_bgtasks.worker import memory
from django_bgtasks.worker.clock import Clock
from django_bgtasks.worker.rescue import rescue_lost
from django_bgtasks.worker.scheduling import Scheduling
from django_bgtasks.worker.timer import Timer

#: Seconds between two looks for jobs that were not begun in time. Where somebody claims
#: them, they are found out at once.
EXPIRY_INTERVAL = 60.0
#: Seconds between two looks how many jobs wait, for statistics.
SAMPLE_INTERVAL = 60.0
#: Seconds between two looks for paused queues that are to be resumed. The loop comes by
#: as often anyway.
RESUME_INTERVAL = 1.0


def heartbeat_interval() -> float:
    """Seconds between two heartbeats: several may fail before the timeout."""
    return get_settings().heartbeat_timeout.total_seconds() / 4.5


class Chores:
    """Heartbeats, lost jobs, paused queues, what is due, periodic jobs, samples.

    Args:
        worker: the id of the worker that does them.
        clock: tells the time of the database.
        schedules: whether periodic jobs are among them.
    """

    def __init__(self, worker: UUID, clock: Clock, *, schedules: bool) -> None:
        settings = get_settings()
        self._worker = worker
        self._clock = clock
        self._heartbeat = Timer(heartbeat_interval(), clock.monotonic)
        self._heard_of_at = clock.monotonic()
        self.trust_nobody_is_lost()
        #: When to look for due jobs.
        self._promotion = Timer(settings.poll_interval.total_seconds(), clock.monotonic)
        self._expiry = Timer(EXPIRY_INTERVAL, clock.monotonic)
        self._sample = Timer(SAMPLE_INTERVAL, clock.monotonic, rest_first=True)
        # Each worker looks at another second, so that one finds what another has written.
        self._sample_second = worker.int % 50
        self._resuming = Timer(RESUME_INTERVAL, clock.monotonic)
        self._scheduling = Scheduling(clock) if schedules else None

    def beat(self) -> bool:
        """Say that the worker is alive, and look whether others are, if it is time.

        Returns:
            False if the worker itself was taken for dead.
        """
        if self._heartbeat.rest > 0:
            return True
        self._clock.sync()
        taken = memory.resident_bytes() if memory.can_tell() else None
        if not workers.beat([self._worker], self._clock.now(), memory=taken):
            return False
        # Only now: a database that can be read but not written is still in trouble.
        self._heartbeat.rest_again()
        self._heed_own_silence()
        # After its own heartbeat, for its host may have been asleep.
        if self._clock.monotonic() >= self._nobody_is_lost_until:
            rescue_lost(self._clock)
        return True

    def _heed_own_silence(self) -> None:
        """Whatever kept this worker from the database may have kept the others, too.

        A lock, for instance, or a server that answered late and without an error.
        """
        now = self._clock.monotonic()
        silence, self._heard_of_at = now - self._heard_of_at, now
        if silence >= get_settings().heartbeat_timeout.total_seconds() / 2:
            self.trust_nobody_is_lost()

    def trust_nobody_is_lost(self) -> None:
        """Give the others time to be heard of again.

        To be called when the database was away: it was so for them, too.
        """
        half = get_settings().heartbeat_timeout.total_seconds() / 2
        self._nobody_is_lost_until = self._clock.monotonic() + half

    def do_what_is_due(self, *, stopping: bool) -> None:
        """One look at each of them; a worker that is stopping makes no new jobs."""
        if self._scheduling is not None and not stopping:
            self._scheduling.do_what_is_due()
        if self._resuming.is_due():
            queues.resume_due(self._clock.now())
        if self._expiry.is_due():
            self._expire()
        if self._sample.is_due() and not stopping:
            self._sample_waiting()
        if self._promotion.is_due():
            self.promote()

    def _expire(self) -> None:
        expired = maintenance.expire(self._clock.now())
        if expired:
            logger.warning("%s jobs waited for longer than they may", len(expired))
        if len(expired) == maintenance.BATCH:
            self._expiry.make_due_in(0)

    def _sample_waiting(self) -> None:
        now = self._clock.now()
        # By the clock, not an interval from now: a minute would be left out now and then.
        self._sample.make_due_in(SAMPLE_INTERVAL - now.second + self._sample_second)
        try:
            tallies.sample_waiting(now)
        except (DatabaseError, InterfaceError) as error:
            # As with all numbers, nothing waits for them.
            logger.warning("How many jobs wait is not written: %s", error)

    @property
    def rest(self) -> float:
        """Seconds until there may be something due."""
        rest = min(self._promotion.rest, self._expiry.rest, self._sample.rest)
        if self._scheduling is None:
            return rest
        return min(rest, self._scheduling.timer.rest)

    def look_in(self, seconds: float) -> None:
        """Look in ``seconds`` at the latest, for something may have become due."""
        self._promotion.make_due_in(seconds)
        if self._scheduling is not None:
            self._scheduling.timer.make_due_in(seconds)

    def promote(self) -> int:
        """Make due jobs ready, and come back when the next ones are.

        Returns:
            How many there were.
        """
        now = self._clock.now()
        promoted = 0
        # Asked first, without a lock, for most of the time there is nothing to do.
        next_due = maintenance.next_due()
        if next_due is not None and next_due <= now:
            promoted = maintenance.promote(now)
            next_due = maintenance.next_due(after=now)
        if promoted == maintenance.BATCH:
            self._promotion.make_due_in(0)
        elif next_due is not None:
            self._promotion.make_due_in((next_due - now).total_seconds())
        return promoted
