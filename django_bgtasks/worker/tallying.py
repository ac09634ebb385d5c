"""Counting what ended: in memory, and every few seconds in rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from django.db import DatabaseError, InterfaceError

from django_bgtasks.models import Tally
from django_bgtasks.signals import logger
from django_bgtasks.store import measuring, tallies
from django_bgtasks.store.measuring import Run
from django_bgtasks.worker.timer import Timer

#: Seconds between two writes: what a worker loses that dies.
WRITE_INTERVAL = 10.0
#: Rows that wait in memory at the most while the database takes none.
LIMIT = 1000


class Tallier:
    """Counts runs whose ends were recorded, until their numbers are written.

    Rows are only added, never changed, so nobody waits for anybody. Once a write was
    tried, its rows stay as they are: should it have been committed without an answer,
    the next one leaves them alone.

    Args:
        monotonic: seconds from a clock that is never set.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._timer = Timer(WRITE_INTERVAL, monotonic, rest_first=True)
        self._minute: datetime | None = None
        #: Of this minute, by queue.
        self._open: dict[str, Tally] = {}
        self._unwritten: list[Tally] = []

    def __len__(self) -> int:
        return len(self._open) + len(self._unwritten)

    @property
    def rest(self) -> float:
        """Seconds until the next write; below 0 if it is time."""
        return self._timer.rest

    def count(self, runs: Iterable[Run], now: datetime) -> None:
        """Count runs that were recorded just now; hand-backs count nothing."""
        measuring.count(runs, lambda queue: self._tally_of(queue, now))

    def write_if_due(self) -> None:
        """Write, if it was long ago."""
        if self._timer.is_due():
            self.write()

    def write(self) -> None:
        """Write what was counted; if the database does not take it, keep it."""
        self._close()
        if not self._unwritten:
            return
        try:
            tallies.write(self._unwritten)
        except (DatabaseError, InterfaceError) as error:
            # Jobs do not wait for numbers about them.
            logger.warning("Statistics are not written, and kept for now: %s", error)
            # The oldest go first, should the table be away for long.
            del self._unwritten[:-LIMIT]
        else:
            self._unwritten = []

    def _tally_of(self, queue: str, now: datetime) -> Tally:
        minute = now.replace(second=0, microsecond=0)
        if minute != self._minute:
            self._close()
            self._minute = minute
        tally = self._open.get(queue)
        if tally is None:
            tally = self._open[queue] = Tally(queue=queue, minute=minute)
        return tally

    def _close(self) -> None:
        self._unwritten += self._open.values()
        self._open.clear()
