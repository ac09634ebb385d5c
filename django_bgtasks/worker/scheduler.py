"""The scheduler as a loop of its own, for hosts where no worker is to be one."""

from __future__ import annotations

from django.db import DatabaseError, InterfaceError

from django_bgtasks.bell import Bell
from django_bgtasks.signals import logger
from django_bgtasks.store import schedules
from django_bgtasks.store.engines import get_engine
from django_bgtasks.worker.clock import Clock
from django_bgtasks.worker.scheduling import Scheduling, sync_schedules
from django_bgtasks.worker.timer import Timer
from django_bgtasks.worker.trouble import Trouble

#: Seconds between two questions for the database's time.
CLOCK_INTERVAL = 10.0


class Scheduler:
    """Enqueues periodic jobs when they are due, until it is stopped.

    Any number of them may run; each tick gets one job.

    Args:
        once: enqueue what is due now and end, for those who have a cron of their own.
        clock: tells the time of the database; None: asks it.
    """

    _scheduling: Scheduling

    def __init__(self, *, once: bool = False, clock: Clock | None = None) -> None:
        self._once = once
        self._clock = clock or Clock(lambda: get_engine().now())
        self._sync_clock = Timer(CLOCK_INTERVAL, self._clock.monotonic)
        self._bell = Bell()
        self._trouble = Trouble(self._bell.wait)
        self._stopping = False

    def run(self) -> None:
        """Work until told to stop.

        Raises:
            DatabaseError: at the start, if the tables cannot be used.
        """
        try:
            self.start()
            if self._once:
                self.catch_up()
            else:
                self._loop()
        finally:
            self._bell.close()

    def stop(self) -> None:
        """End after this round. Safe in signal handlers."""
        self._stopping = True
        self._bell.ring()

    def stop_at_once(self) -> None:
        """A second request to stop; the process is about to end."""

    def start(self) -> None:
        """Write what is declared into the rows, and get ready to look at them."""
        get_engine().prepare()
        self._clock.sync()
        sync_schedules(self._clock.now())
        self._scheduling = Scheduling(self._clock)

    def tick(self) -> int:
        """One look at what is due.

        Returns:
            How many schedules were.
        """
        if self._sync_clock.is_due():
            self._clock.sync()
        return self._scheduling.do_what_is_due()

    def catch_up(self) -> None:
        """Deal with all that is due.

        Raises:
            DatabaseError: that is not possible now.
        """
        while not self._stopping:
            try:
                if not self.tick():
                    return
            except DatabaseError as error:
                if not get_engine().is_conflict(error):
                    raise

    def wait(self) -> None:
        """Until there may be something due.

        Not for what the database may have to say: who changes a schedule is not in such
        a hurry.
        """
        self._bell.wait(self._scheduling.timer.rest)

    def _loop(self) -> None:
        logger.info("The scheduler has started; next run: %s", schedules.next_due())
        while not self._stopping:
            try:
                self._trouble.reconnect(get_engine().prepare)
                self.tick()
            except (DatabaseError, InterfaceError) as error:
                self._trouble.meet(error)
            else:
                self._trouble.is_over()
                self.wait()
        logger.info("The scheduler has stopped")
