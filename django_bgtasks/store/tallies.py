"""Tallies: written by workers, rolled up by a periodic job, so that they stay few.

Once a minute a worker also looks how many jobs wait. The row that has no queue's name
says so of all queues together, and thereby that somebody has looked: a queue of which
nothing was written then had none.

A roll-up locks some rows and writes their sum in their place, in one transaction.
Wherever it is killed, and whoever else is at it, the sum of all rows stays the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db.models import Count, QuerySet

from django_bgtasks.models import Tally
from django_bgtasks.store import overview
from django_bgtasks.store.engines import get_engine

MINUTE = timedelta(minutes=1)

#: After so long, nobody is expected to count more for a minute.
SETTLED_AFTER = timedelta(minutes=5)
#: How long each minute can be told from the others, and each quarter of an hour.
MINUTES_KEPT = timedelta(hours=3)
QUARTERS_KEPT = timedelta(days=2)
#: How long there is anything.
HOURS_KEPT = timedelta(days=90)

#: Sums that one look finds to be made, and rows that one transaction deletes.
BATCH = 500
#: Jobs of a queue that are counted when somebody looks how many wait.
WAITING_LIMIT = 100_000
#: The name of no queue: of all of them together.
ALL_QUEUES = ""


def write(tallies: Sequence[Tally]) -> None:
    """Add rows. Those that are there already, as after a lost answer, are left alone."""
    rows = Tally.objects.using(get_engine().alias)
    rows.bulk_create(tallies, batch_size=BATCH, ignore_conflicts=True)


def sample_waiting(now: datetime) -> bool:
    """Write how many jobs wait, unless somebody has done so within this minute.

    Two who are at it at the same time both write; the higher number counts.

    Args:
        now: the time by the database's clock.

    Returns:
        Whether it was written.
    """
    minute = now.replace(second=0, microsecond=0)
    if _rows().filter(minute=minute, waiting__isnull=False).exists():
        return False
    waiting = overview.waiting_jobs(WAITING_LIMIT)
    waiting[ALL_QUEUES] = sum(waiting.values())
    write([Tally(queue=q, minute=minute, waiting=n) for q, n in waiting.items()])
    return True


def roll_up(now: datetime, limit: int = BATCH) -> int:
    """One step of making few rows of many, and of forgetting what is too old.

    Args:
        now: the time by the database's clock.
        limit: how much to do at the most.

    Returns:
        How many rows were replaced or deleted; 0 means that nothing is left to do.
    """
    # Minutes first, so that no hour is made of more rows than it has minutes.
    return (
        _merge_minutes(now - SETTLED_AFTER, limit)
        or _merge_into(15, now - MINUTES_KEPT, limit)
        or _merge_into(60, now - QUARTERS_KEPT, limit)
        or _delete(now - HOURS_KEPT, limit)
    )


def _merge_minutes(before: datetime, limit: int) -> int:
    """Make one row of each queue's minute that several workers have written to."""
    several = (
        _rows()
        .filter(span=1, minute__lt=before)
        .values_list("queue", "minute")
        .annotate(rows=Count("pk"))
        .filter(rows__gt=1)
        .order_by("minute", "queue")[:limit]
    )
    return sum(_replace(queue, minute, 1) for queue, minute, _ in list(several))


def _merge_into(span: int, before: datetime, limit: int) -> int:
    """Make one row of ``span`` minutes, none of which is younger than ``before``."""
    end = _beginning(span, before)
    shorter = _rows().filter(span__lt=span, minute__lt=end)
    some = shorter.order_by("minute").values_list("queue", "minute")[:limit]
    spans = {(queue, _beginning(span, minute)) for queue, minute in some}
    return sum(_replace(queue, begin, span) for queue, begin in sorted(spans))


def _replace(queue: str, begin: datetime, span: int) -> int:
    """Write the sum of a queue's rows in their place.

    Returns:
        How many there were.
    """
    engine = get_engine()
    end = begin + span * MINUTE
    with engine.transaction():
        # In the order of their keys, so that two who are at it wait for each other. The
        # second one then finds none, and leaves what the first one wrote.
        rows = list(
            _rows()
            .filter(queue=queue, span__lte=span, minute__gte=begin, minute__lt=end)
            .order_by("pk")
            .select_for_update()
        )
        if len(rows) < 2 and all(row.span == span for row in rows):
            return 0
        _rows().filter(pk__in=[row.pk for row in rows]).delete()
        total = Tally.sum_of(rows, queue, begin, span)
        total.save(using=engine.alias, force_insert=True)
        return len(rows)


def _delete(before: datetime, limit: int) -> int:
    old = _rows().filter(minute__lt=before).order_by("minute")
    ids = list(old.values_list("pk", flat=True)[:limit])
    deleted, _ = _rows().filter(pk__in=ids).delete()
    return deleted


def _beginning(span: int, moment: datetime) -> datetime:
    """When the ``span`` minutes of an hour began that ``moment`` lies in."""
    minute = moment.minute - moment.minute % span
    return moment.replace(minute=minute, second=0, microsecond=0)


def _rows() -> QuerySet[Tally]:
    return Tally.objects.using(get_engine().alias)
