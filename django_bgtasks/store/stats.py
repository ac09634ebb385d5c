"""Statistics: what tallies say, as figures to show. Reads no jobs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from django.db.models import QuerySet, Sum

from django_bgtasks.models import Tally
from django_bgtasks.models.tally import COUNTS, SUMMED
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.tallies import ALL_QUEUES

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
        waiting: the most jobs that waited at the same time, by a look each minute; None
            if nobody looked.
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
    waiting: int | None

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


@dataclass(frozen=True, kw_only=True)
class Report:
    """What there is to say of a time, read once.

    Args:
        queues: the figures of each queue, by their names.
        total: figures of the queue that was asked for, or of all.
        steps: the same of each step.
        finished: of each queue, how many jobs came to an end in each step.
    """

    queues: tuple[Figures, ...]
    total: Figures
    steps: tuple[Figures, ...]
    finished: dict[str, tuple[int, ...]]


def summary(since: datetime, until: datetime) -> list[Figures]:
    """Figures of each queue on which something ended or waited, by their names.

    What was rolled up counts as of the beginning of its quarter or hour.
    """
    return _summary(_read(_tallies(since, until)), since, until)


def series(
    since: datetime, until: datetime, step: timedelta, queue: str | None = None
) -> list[Figures]:
    """Figures of each ``step`` from ``since`` on, those in which nothing ended, too.

    Args:
        step: a minute or more. What is older than three hours is known by the quarter,
            and after two days by the hour.
        queue: only of this one; None: of all of them together.
    """
    tallies = _tallies(since, until)
    if queue is not None:
        tallies = tallies.filter(queue__in=(queue, ALL_QUEUES))
    begins = _begins(since, until, step)
    sums = _sums(_by_step(_read(tallies), begins, step), begins, queue)
    return [_figures(tally, min(tally.minute + step, until)) for tally in sums]


def report(
    since: datetime, until: datetime, step: timedelta, queue: str | None = None
) -> Report:
    """``summary`` and ``series`` of the same time, for one query and one reading."""
    begins = _begins(since, until, step)
    cells = _by_step(_read(_tallies(since, until)), begins, step)
    finished: defaultdict[str, list[int]] = defaultdict(lambda: [0] * len(begins))
    for n, tallies in enumerate(cells):
        for tally in tallies:
            finished[tally.queue][n] += (
                tally.successful + tally.failed + tally.cancelled
            )
    sums = _sums(cells, begins, queue)
    return Report(
        queues=tuple(_summary(chain.from_iterable(cells), since, until)),
        total=_figures(Tally.sum_of(sums, queue or ALL_QUEUES, since, 0), until),
        steps=tuple(_figures(tally, min(tally.minute + step, until)) for tally in sums),
        finished={name: tuple(numbers) for name, numbers in finished.items()},
    )


def totals(since: datetime, until: datetime) -> dict[str, int]:
    """How many ended how, on all queues: added up by the database."""
    added_up = _tallies(since, until).aggregate(**{name: Sum(name) for name in COUNTS})
    return {name: added_up[name] or 0 for name in COUNTS}


def _summary(
    tallies: Iterable[Tally], since: datetime, until: datetime
) -> list[Figures]:
    by_queue: defaultdict[str, list[Tally]] = defaultdict(list)
    for tally in tallies:
        by_queue[tally.queue].append(tally)
    looks = by_queue.pop(ALL_QUEUES, [])
    return [
        _figures(_sum([*looks[:1], *own], queue, since), until)
        for queue, own in sorted(by_queue.items())
    ]


def _by_step(
    tallies: Iterable[Tally], begins: Sequence[datetime], step: timedelta
) -> list[list[Tally]]:
    """One for each queue of each step."""
    cells: defaultdict[tuple[int, str], list[Tally]] = defaultdict(list)
    for tally in tallies:
        cells[(tally.minute - begins[0]) // step, tally.queue].append(tally)
    steps: list[list[Tally]] = [[] for _ in begins]
    for (n, queue), several in cells.items():
        is_one = len(several) == 1
        steps[n].append(several[0] if is_one else _sum(several, queue, begins[n]))
    return steps


def _sums(
    steps: Sequence[Sequence[Tally]], begins: Sequence[datetime], queue: str | None
) -> list[Tally]:
    """What each step comes to, of a queue or of all."""
    names = (queue, ALL_QUEUES)
    return [
        _sum(
            [tally for tally in tallies if queue is None or tally.queue in names],
            queue or ALL_QUEUES,
            begin,
        )
        for tallies, begin in zip(steps, begins, strict=True)
    ]


def _begins(since: datetime, until: datetime, step: timedelta) -> list[datetime]:
    begins = [since]
    while begins[-1] + step < until:
        begins.append(begins[-1] + step)
    return begins


#: What there is to add up of a row.
_COLUMNS = ("queue", "minute", "waiting", *SUMMED, "waits", "runs")


def _tallies(since: datetime, until: datetime) -> QuerySet[Tally, Any]:
    rows = Tally.objects.using(get_engine().alias)
    return rows.filter(minute__gte=since, minute__lt=until)


def _read(tallies: QuerySet[Tally, Any]) -> Iterable[Any]:
    """As bare rows, for a chart reads thousands, and models take twice as long."""
    return tallies.values_list(*_COLUMNS, named=True)


def _sum(tallies: Collection[Tally], queue: str, begin: datetime) -> Tally:
    total = Tally.sum_of(tallies, queue, begin, 0)
    # The most that waited on another queue, or on all together, is none of its own. But
    # where somebody has looked, a queue of which nothing was written had none.
    seen = [(t.queue, t.waiting) for t in tallies if t.waiting is not None]
    own = (waiting for name, waiting in seen if name == queue)
    total.waiting = max(own, default=0 if seen else None)
    return total


def _figures(total: Tally, end: datetime) -> Figures:
    return Figures(
        queue=total.queue,
        begin=total.minute,
        minutes=(end - total.minute) / MINUTE,
        successful=total.successful,
        failed=total.failed,
        cancelled=total.cancelled,
        retried=total.retried,
        wait=_times(total.waits, total.wait_seconds),
        run=_times(total.runs, total.run_seconds),
        waiting=total.waiting,
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
