"""What a tally says of runs: how each ended, how long it waited, how long it took.

It stands in the way of every job, so it works on batches: times are sorted once, and
the buckets of a histogram are found in them by bisection.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any

from django_bgtasks.models import Job, Tally
from django_bgtasks.models.job import Status
from django_bgtasks.outcomes import Outcome, Released, Snoozed, Succeeded, Unknown

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


def count(runs: Iterable[Run], tally_of: Callable[[str], Tally]) -> None:
    """Count runs that were recorded just now; hand-backs count nothing.

    Args:
        tally_of: the tally of a queue, to add to.
    """
    groups: defaultdict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        job, outcome, _ = run
        if isinstance(outcome, Succeeded):
            groups[job.queue, "successful"].append(run)
        elif not isinstance(outcome, (Snoozed, Unknown, Released)):
            groups[job.queue, _COLUMNS[Status(job.status)]].append(run)
    for (queue, column), group in groups.items():
        _add(tally_of(queue), column, group)


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
