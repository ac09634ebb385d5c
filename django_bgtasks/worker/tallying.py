"""Counting what ended: in memory, and every few seconds in rows.

It stands in the way of every job, so it works on batches: times are sorted once, and
the buckets of a histogram are found in them by bisection.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, InterfaceError

from django_bgtasks.models import Job, Tally
from django_bgtasks.models.job import Status
from django_bgtasks.outcomes import Outcome, Released, Snoozed, Succeeded, Unknown
from django_bgtasks.signals import logger
from django_bgtasks.store import tallies
from django_bgtasks.worker.timer import Timer

#: Seconds between two writes: what a worker loses that dies.
WRITE_INTERVAL = 10.0
#: Rows that wait in memory at the most while the database takes none.
LIMIT = 1000

#: A job whose run is over, how it ended, and the seconds that it took.
Run = tuple[Job, Outcome, float]

ZERO = timedelta(0)

# Where the buckets end: bucket n at 2 ** n microseconds. No time is beyond the last.
_ENDS = [timedelta(microseconds=2**bits) for bits in range(56)] + [timedelta.max]
_ENDS_IN_SECONDS = [end.total_seconds() for end in _ENDS]

#: Which column counts jobs that ended otherwise than in success, by what became of them.
_COLUMNS = {
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
    Status.SCHEDULED: "retried",
}


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
        groups: defaultdict[tuple[str, str], list[Run]] = defaultdict(list)
        for run in runs:
            job, outcome, _ = run
            if isinstance(outcome, Succeeded):
                groups[job.queue, "successful"].append(run)
            elif not isinstance(outcome, (Snoozed, Unknown, Released)):
                groups[job.queue, _COLUMNS[Status(job.status)]].append(run)
        for (queue, column), group in groups.items():
            _add(self._tally_of(queue, now), column, group)

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


def _add(tally: Tally, column: str, runs: Sequence[Run]) -> None:
    setattr(tally, column, getattr(tally, column) + len(runs))
    seconds = sorted([seconds for _, _, seconds in runs])
    tally.run_seconds += sum(seconds)
    _count_into(tally.runs, seconds, _ENDS_IN_SECONDS)
    if column != "retried":
        waits = sorted(_waits(runs))
        # A host that enqueues may have a clock that is ahead.
        tally.wait_seconds += max(sum(waits, ZERO), ZERO).total_seconds()
        _count_into(tally.waits, waits, _ENDS)


def _waits(runs: Sequence[Run]) -> list[timedelta]:
    """How long jobs waited since they could run.

    Without those that somebody has made ready once more: no column says when.
    """
    return [
        job.started_at
        - (
            job.enqueued_at
            if job.run_after is None
            else max(job.run_after, job.enqueued_at)
        )
        for job, _, _ in runs
        if job.started_at and (job.attempt == 1 or job.run_after)
    ]


def _count_into(
    histogram: dict[str, int], times: Sequence[Any], ends: Sequence[Any]
) -> None:
    """Add to ``histogram`` how many of ``times``, which are sorted, are in each bucket.

    Args:
        ends: where the buckets end.
    """
    begin = 0
    while begin < len(times):
        bucket = bisect_right(ends, times[begin])
        end = bisect_left(times, ends[bucket], begin)
        histogram[str(bucket)] = histogram.get(str(bucket), 0) + end - begin
        begin = end
