"""Statistics: what tallies say, as figures to show. Reads no jobs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import QuerySet

from django_bgtasks.models import Tally
from django_bgtasks.store.engines import get_engine

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Times:
    """How long something took, in seconds; None where nothing was counted."""

    mean: float | None
    median: float | None
    p95: float | None


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What ended within a time.

    Args:
        queue: on which queue; empty: on all of them.
        begin: the beginning of the time.
        minutes: how long it is.
        successful: jobs that have done their work.
        failed: jobs that shall not be tried again.
        cancelled: jobs that were cancelled while they ran.
        retried: attempts that failed, of jobs that are tried again.
        wait: how long jobs waited since they could run.
        run: how long attempts ran.
    """

    queue: str
    begin: datetime
    minutes: float
    successful: int
    failed: int
    cancelled: int
    retried: int
    wait: Times
    run: Times

    @property
    def finished(self) -> int:
        """Jobs that came to an end, whatever the end."""
        return self.successful + self.failed + self.cancelled

    @property
    def failure_rate(self) -> float | None:
        """The share of jobs that failed, of those that were not cancelled."""
        tried = self.successful + self.failed
        return self.failed / tried if tried else None

    @property
    def per_minute(self) -> float:
        """Jobs that came to an end in a minute, on average."""
        return self.finished / self.minutes


def summary(since: datetime, until: datetime) -> list[Figures]:
    """Figures of each queue on which something ended, in the order of their names.

    What was rolled up into an hour counts as of its beginning.
    """
    by_queue: defaultdict[str, list[Tally]] = defaultdict(list)
    for tally in _tallies(since, until):
        by_queue[tally.queue].append(tally)
    return [
        _figures(tallies, queue, since, until)
        for queue, tallies in sorted(by_queue.items())
    ]


def series(
    since: datetime, until: datetime, step: timedelta, queue: str | None = None
) -> list[Figures]:
    """Figures of each ``step`` from ``since`` on, those in which nothing ended, too.

    Args:
        step: a minute or more. What is older than two days is known by the hour.
        queue: only of this one; None: of all of them together.
    """
    begins = [since]
    while begins[-1] + step < until:
        begins.append(begins[-1] + step)
    rows = _tallies(since, until)
    by_step: defaultdict[int, list[Tally]] = defaultdict(list)
    for tally in rows if queue is None else rows.filter(queue=queue):
        by_step[(tally.minute - since) // step].append(tally)
    return [
        _figures(by_step[n], queue or "", begin, min(begin + step, until))
        for n, begin in enumerate(begins)
    ]


def _tallies(since: datetime, until: datetime) -> QuerySet[Tally]:
    rows = Tally.objects.using(get_engine().alias)
    return rows.filter(minute__gte=since, minute__lt=until)


def _figures(
    tallies: Collection[Tally], queue: str, begin: datetime, end: datetime
) -> Figures:
    total = Tally.sum_of(tallies, queue, begin, 0)
    return Figures(
        queue=queue,
        begin=begin,
        minutes=(end - begin) / MINUTE,
        successful=total.successful,
        failed=total.failed,
        cancelled=total.cancelled,
        retried=total.retried,
        wait=_times(total.waits, total.wait_seconds),
        run=_times(total.runs, total.run_seconds),
    )


def _times(histogram: dict[str, int], seconds: float) -> Times:
    counts = sorted((int(bucket), count) for bucket, count in histogram.items())
    total = sum(histogram.values())
    return Times(
        mean=seconds / total if total else None,
        median=_quantile(counts, 0.5),
        p95=_quantile(counts, 0.95),
    )


def _quantile(counts: list[tuple[int, int]], share: float) -> float | None:
    """The seconds within which a ``share`` of all was done, about.

    Within a bucket, the times are taken to lie evenly.

    Args:
        counts: how many are in which bucket, in order.
    """
    rank = share * sum(count for _, count in counts)
    for bucket, count in counts:
        if rank <= count:
            end = 1 << bucket
            begin = end >> 1
            return (begin + (end - begin) * rank / count) / 1_000_000
        rank -= count
    return None
