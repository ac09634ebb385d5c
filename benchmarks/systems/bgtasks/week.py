"""What an installation looks like after a week: for the pages that show it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import cycle
from typing import Any

from benchmarks.systems.bgtasks.tasks import tasks
from django_bgtasks.models import Attempt, Job, Queue, Schedule, Tally, Worker
from django_bgtasks.models.job import Status, new_id
from django_bgtasks.store import schedules

HOUR = timedelta(hours=1)
HOURS = 7 * 24
QUEUES = ("default", "mail", "pictures", "reports", "webhooks")
ERRORS = ("builtins.ValueError", "builtins.TimeoutError", "builtins.ConnectionError")
#: Of each hour's jobs; the rest is SUCCESSFUL.
SHARES = {Status.FAILED: 0.02, Status.CANCELLED: 0.01}
#: Histograms have buckets by the bit length of microseconds; these are 16 to 131 ms.
BUCKETS = ("14", "15", "16")

#: Adds so many jobs that begin with these digits and have these columns.
AddCopies = Callable[..., None]


def fill(add_copies: AddCopies, count: int, now: datetime) -> None:
    """Add a week of ``count`` finished jobs and what stands beside them.

    Args:
        now: when it ends.
    """
    _add_jobs(add_copies, count, now)
    Attempt.objects.bulk_create(_attempts(now), batch_size=500)
    Tally.objects.bulk_create(_tallies(count, now), batch_size=500)
    Queue.objects.bulk_create([Queue(name=name) for name in QUEUES])
    Worker.objects.bulk_create(_workers(now))
    for number in range(30):
        row = Schedule(name=f"job {number}", task=tasks["noop"].path)
        row.every = timedelta(minutes=5 + number)
        schedules.save(row, now)


def first_digits(moment: datetime) -> str:
    """The first 20 digits of an id that was made at a moment."""
    milliseconds = int(moment.timestamp() * 1000)
    return f"{milliseconds:012x}7{secrets.token_hex(2)[1:]}8{secrets.token_hex(2)[1:]}"


def _add_jobs(add_copies: AddCopies, count: int, now: datetime) -> None:
    kinds = cycle(zip(cycle(tasks.values()), QUEUES, strict=False))
    for hour in range(HOURS, 0, -1):
        began = now - hour * HOUR
        left = count // HOURS
        for status, share in (*SHARES.items(), (Status.SUCCESSFUL, 1.0)):
            some = min(round(share * count / HOURS), left)
            left -= some
            task, queue = next(kinds)
            add_copies(
                some,
                first_digits(began),
                task=task.path,
                queue=queue,
                args=[hour],
                status=status,
                enqueued_at=began,
                started_at=began + timedelta(seconds=1),
                finished_at=began + timedelta(seconds=2),
                attempt=1,
                run_token=1,
                last_worker=new_id(),
            )


def _attempts(now: datetime) -> Iterator[Attempt]:
    errors = cycle(ERRORS)
    for pk in Job.objects.failed().values_list("pk", flat=True).iterator():
        path = next(errors)
        yield Attempt(
            job_id=pk,
            number=1,
            ending=Attempt.Ending.FAILED,
            worker=new_id(),
            started_at=now,
            finished_at=now,
            exception_class_path=path,
            error=f"{path}: nobody answered",
            traceback="Traceback (most recent call last):\n" + "  a line\n" * 40,
        )


def _tallies(count: int, now: datetime) -> Iterator[Tally]:
    """As they are rolled up: by the minute, by the quarter, by the hour."""
    begin = now.replace(minute=0, second=0, microsecond=0)
    for span, since, until in ((1, 0, 3), (15, 3, 48), (60, 48, HOURS)):
        for back in range(since * 60, until * 60, span):
            yield from _tallies_of(begin - timedelta(minutes=back), span, count)


def _tallies_of(begin: datetime, span: int, count: int) -> Iterator[Tally]:
    each = max(1, count * span // (HOURS * 60 * len(QUEUES)))
    histogram = {bucket: each // len(BUCKETS) for bucket in BUCKETS}
    for queue in QUEUES:
        yield Tally(
            queue=queue,
            minute=begin,
            span=span,
            successful=each,
            failed=each // 50,
            retried=each // 20,
            wait_seconds=each * 0.05,
            run_seconds=each * 0.05,
            waits=histogram,
            runs=histogram,
            waiting=each,
        )


def _workers(now: datetime) -> list[Worker]:
    facts: dict[str, Any] = {"hostname": "box", "threads": 4, "started_at": now}
    return [Worker(pid=pid, heartbeat_at=now, **facts) for pid in range(1, 9)]
