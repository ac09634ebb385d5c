"""A database that does not answer: waiting until it does, without a word too many."""

from __future__ import annotations

from collections.abc import Callable

from django_bgtasks.signals import logger
from django_bgtasks.store.engines import get_engine
from django_bgtasks.worker import streams
from django_bgtasks.worker.chores import heartbeat_interval
from django_bgtasks.worker.settling import may_pass

#: The longest pause in seconds between two tries to reach the database.
LONGEST_BACKOFF = 5.0


class Trouble:
    """What a loop has met with its database since it last answered.

    Args:
        wait: lets so many seconds pass, unless the loop is told to stop.
    """

    def __init__(self, wait: Callable[[float], object]) -> None:
        self._wait = wait
        self._failures = 0
        self._is_told = False
        #: Whether the connection was given up, and there is no other one yet.
        self._is_cut_off = False

    def meet(self, error: Exception) -> bool:
        """Wait before another try, longer each time.

        Returns:
            Whether the connection was given up; not if another transaction only stood
            in the way.

        Raises:
            Exception: ``error``, if trying again cannot help.
        """
        self._failures += 1
        engine = get_engine()
        if engine.is_conflict(error) and self._failures == 1:
            return False
        if not may_pass(error):
            raise error
        if not self._is_told:
            self._is_told = True
            logger.error("The database is in trouble; trying on: %s", error)
        engine.connection.close()
        self._is_cut_off = True
        streams.plug_gaps()
        # Soon enough to be heard of before others may think that this one is lost.
        longest = min(LONGEST_BACKOFF, heartbeat_interval() / 2)
        self._wait(min(0.1 * 2 ** min(self._failures, 10), longest))
        return True

    def reconnect(self, connect: Callable[[], object]) -> None:
        """Call ``connect`` in the place of a connection that was given up.

        Until all of that has been done: the next query would connect all the same, but
        to a session that is not set up.
        """
        if self._is_cut_off:
            connect()
            self._is_cut_off = False

    def is_over(self) -> None:
        """The database has answered, on a connection that is set up."""
        self._failures = 0
        self._is_cut_off = False
        if self._is_told:
            self._is_told = False
            logger.info("The database answers again")
