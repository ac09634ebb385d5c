"""What there is now: queues, workers and schedules, as figures to show.

Counts read entries of indexes, never history, and end at a limit; the number of queries
is the same for one queue and for a hundred.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    Count,
    DateTimeField,
    F,
    QuerySet,
    Subquery,
    Value,
    Window,
)
from django.db.models.functions import Cast, Coalesce, RowNumber

from django_bgtasks.models import Job, JobQuerySet, Queue, Schedule, Worker
from django_bgtasks.models.job import Status
from django_bgtasks.store import workers
from django_bgtasks.store.engines import get_engine

#: Jobs of a kind that are counted, before it is only said that there are more.
COUNT_LIMIT = 10_000
#: How far back failures count.
RECENT = timedelta(hours=1)
#: A schedule that has been due for longer has no scheduler.
LATE = timedelta(minutes=5)
#: Samples that one statement takes; SQLite's limit is 500.
SAMPLE_LIMIT = 400


#: A queue and a worker that has jobs of it.
_Place = tuple[str, UUID]


@dataclass(frozen=True, kw_only=True)
class QueueState:
    """A queue as it is.

    Args:
        name: its name.
        paused_at: since when it is paused, or None.
        resume_at: when it resumes by itself, or None.
        waiting: jobs that are due and that no worker has claimed.
        oldest_due: since when the one of them could run that has waited longest; of
            more jobs than are counted, the longest-waiting of the urgent ones, or the
            first of the least urgent. None if none waits.
        scheduled: jobs whose time has not come.
        running: jobs that workers have.
        failed: jobs that failed within the last hour.
        capped: the names of those numbers of which there are more than were counted.
    """

    name: str
    paused_at: datetime | None
    resume_at: datetime | None
    waiting: int
    oldest_due: datetime | None
    scheduled: int
    running: int
    failed: int
    capped: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class WorkerState:
    """A worker as it is.

    Args:
        id: of its row.
        hostname, pid: where it runs.
        queues: the names it works on; empty for all.
        threads: jobs that it runs at the same time.
        running: jobs that it has.
        started_at: when it began to work.
        heartbeat_at: when it was last heard of.
        is_live: whether that was lately; else it is lost.
        version: of this package, as it runs it; empty if it has not said.
        memory: bytes that its process holds, or None if it has not said.
        instruction: what somebody has told it, ``quiet``, ``drain`` or ``stop``; empty:
            to work as ever.
    """

    id: UUID
    hostname: str
    pid: int
    queues: tuple[str, ...]
    threads: int
    running: int
    started_at: datetime
    heartbeat_at: datetime
    is_live: bool
    version: str
    memory: int | None
    instruction: str


@dataclass(frozen=True, kw_only=True)
class ScheduleState:
    """A schedule as it is.

    Args:
        name: its name.
        next_due: its next tick; None if there is no more, or it is paused.
        paused_at: since when it is paused, or None.
        problem: what is wrong with it, or empty.
        is_late: whether its tick has been due for so long that no scheduler can be
            running.
    """

    name: str
    next_due: datetime | None
    paused_at: datetime | None
    problem: str
    is_late: bool


@dataclass(frozen=True, kw_only=True)
class Overview:
    """All there is to see at a moment.

    Args:
        now: the moment, by the database's clock.
        queues: those that have jobs or a row, by their names.
        workers: those with a row, by host and process.
        schedules: all of them, by their names; or those that were asked for.
    """

    now: datetime
    queues: tuple[QueueState, ...]
    workers: tuple[WorkerState, ...]
    schedules: tuple[ScheduleState, ...]


def overview(
    now: datetime | None = None,
    limit: int = COUNT_LIMIT,
    schedules: Iterable[Schedule] | None = None,
) -> Overview:
    """Look at queues, workers and schedules.

    Args:
        now: the time by the database's clock, if it is known.
        limit: jobs of a kind to count at the most.
        schedules: look at these rows; None: at all there are.
    """
    now = now or get_engine().now()
    running = _running()
    return Overview(
        now=now,
        queues=tuple(_queues(now, limit, running)),
        workers=tuple(_workers(now, running)),
        schedules=tuple(
            schedule_state(row, now)
            for row in (_all_schedules() if schedules is None else schedules)
        ),
    )


def waiting_jobs(limit: int) -> dict[str, int]:
    """How many jobs are READY on each queue that has some, paused ones too.

    Read from the entries of an index alone.

    Args:
        limit: jobs of a queue to count at the most.
    """
    engine = get_engine()
    rows = Queue.objects.using(engine.alias).filter(paused_at__isnull=False)
    names = {*engine.ready_queues(), *rows.values_list("name", flat=True)}
    ready = Job.objects.using(engine.alias).ready().filter(queue=_ANY)
    nothing = Cast(Value(None), DateTimeField())
    sample = _sample("ready", ready.order_by()[:limit], nothing)
    groups = _grouped([sample.of(name) for name in sorted(names)])
    return {group.queue: group.number for group in groups}


# -- queues


def queue_states(
    now: datetime | None = None, limit: int = COUNT_LIMIT
) -> tuple[QueueState, ...]:
    """The queues alone, as ``overview`` has them."""
    return tuple(_queues(now or get_engine().now(), limit, _running()))


#: Stands for the name of a queue in a sample of each; no queue is called so.
_ANY = "\x00"


class _Sample(NamedTuple):
    """Jobs to count by queue, as the ORM has written it.

    Args:
        kind: what the number is called.
        sql: selects queues, and moments of which the earliest is wanted.
        params: of that.
    """

    kind: str
    sql: str
    params: tuple[Any, ...]

    def of(self, queue: str) -> _Sample:
        """The same of one queue: to have the ORM write each takes longer than to read."""
        return self._replace(
            params=tuple(queue if value == _ANY else value for value in self.params)
        )


def _sample(kind: str, jobs: JobQuerySet, moment: Any) -> _Sample:
    """What counts ``jobs``, which are no more than there is a limit for.

    Args:
        moment: the column or expression of which the earliest is wanted.
    """
    rows = jobs.values("queue", moment=moment)
    sql, params = rows.query.get_compiler(get_engine().alias).as_sql()
    return _Sample(kind, sql, tuple(params))


class _Group(NamedTuple):
    """Jobs of a sample that are on one queue."""

    kind: str
    queue: str
    number: int
    earliest: Any  # a datetime, if a moment was asked for


#: Samples that tell since when jobs could run.
_DUE = ("ready", "last", "due")
#: Samples that are of all queues together, and the numbers that they make uncertain.
_OF_ALL = {"due": "waiting", "scheduled": "scheduled", "failed": "failed"}


def _queues(
    now: datetime, limit: int, running: Mapping[_Place, int]
) -> Iterator[QueueState]:
    engine = get_engine()
    rows = {row.name: row for row in Queue.objects.using(engine.alias)}
    # Paused ones, which the engine leaves out, have a row.
    names = {*engine.ready_queues(), *rows}
    of_each = list(_of_ready(limit))
    samples = [sample.of(name) for name in names for sample in of_each]
    counts = _Counts(_grouped([*samples, *_of_all_queues(now, limit)]), running, limit)
    for name in sorted({*rows, *counts.queues}):
        yield counts.state(rows.get(name) or Queue(name=name))


class _Counts:
    """What was counted, by queue and kind."""

    def __init__(
        self, groups: Sequence[_Group], running: Mapping[_Place, int], limit: int
    ) -> None:
        self._limit = limit
        self._numbers: Counter[tuple[str, str]] = Counter()
        self._due: defaultdict[str, list[datetime]] = defaultdict(list)
        for group in groups:
            self._numbers[group.queue, group.kind] += group.number
            if group.kind in _DUE:
                self._due[group.queue].append(group.earliest)
        for (queue, _worker), number in running.items():
            self._numbers[queue, "running"] += number
        in_all: Counter[str] = Counter()
        for group in groups:
            in_all[group.kind] += group.number
        self._capped = {_OF_ALL[kind] for kind in _OF_ALL if in_all[kind] > limit}

    @property
    def queues(self) -> set[str]:
        return {queue for queue, _kind in self._numbers}

    def state(self, row: Queue) -> QueueState:
        queue = row.name
        is_long = self._numbers[queue, "ready"] > self._limit
        return QueueState(
            name=queue,
            paused_at=row.paused_at,
            resume_at=row.resume_at,
            waiting=self._sum(queue, "ready", "due"),
            oldest_due=min(self._due[queue], default=None),
            scheduled=self._sum(queue, "scheduled"),
            running=self._numbers[queue, "running"],
            failed=self._sum(queue, "failed"),
            capped=tuple(sorted(self._capped | ({"waiting"} if is_long else set()))),
        )

    def _sum(self, queue: str, *kinds: str) -> int:
        return min(sum(self._numbers[queue, kind] for kind in kinds), self._limit)


def _of_ready(limit: int) -> Iterator[_Sample]:
    since = Coalesce("run_after", "enqueued_at")
    ready = Job.objects.using(get_engine().alias).ready().filter(queue=_ANY)
    yield _sample("ready", ready.order_by("-priority", "pk")[: limit + 1], since)
    # More urgent jobs may keep the others waiting for ever: behind the limit, where
    # one would not see it.
    lowest = ready.order_by("priority").values("priority")[:1]
    last = ready.filter(priority=Subquery(lowest)).order_by("pk")
    yield _sample("last", last[:1], since)


def _of_all_queues(now: datetime, limit: int) -> Iterator[_Sample]:
    jobs = Job.objects.using(get_engine().alias)
    scheduled = jobs.scheduled().order_by("run_after")
    # Due, but no worker was there to make them READY.
    due = scheduled.filter(run_after__lte=now)
    later = scheduled.filter(run_after__gt=now)
    failed = jobs.filter(
        status=Status.FAILED, finished_at__isnull=False, finished_at__gt=now - RECENT
    )
    yield _sample("due", due[: limit + 1], F("run_after"))
    yield _sample("scheduled", later[: limit + 1], F("run_after"))
    yield _sample("failed", failed[: limit + 1], F("finished_at"))


def _grouped(samples: Sequence[_Sample]) -> list[_Group]:
    """How many there are on each queue of each sample, and the earliest moment."""
    return [
        group
        for start in range(0, len(samples), SAMPLE_LIMIT)
        for group in _group(samples[start : start + SAMPLE_LIMIT])
    ]


def _group(samples: Sequence[_Sample]) -> Iterator[_Group]:
    # The ORM has no union of aggregates over slices. Each slice is its own, though.
    connection = get_engine().connection
    selects: list[str] = []
    values: list[Any] = []
    for number, sample in enumerate(samples):
        selects.append(
            f"SELECT {number}, queue, COUNT(*), MIN(moment) "  # noqa: S608 (a number, and what the ORM has written)
            f"FROM ({sample.sql}) AS sample GROUP BY queue"
        )
        values += sample.params
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(selects), values)
        for number, queue, count, earliest in cursor.fetchall():
            kind = samples[number].kind
            yield _Group(kind, queue, count, _as_moment(earliest, connection))


def _as_moment(value: Any, connection: BaseDatabaseWrapper) -> Any:
    """What the ORM would make of a time, as this database returns it."""
    column = Job._meta.get_field("enqueued_at").cached_col
    for convert in connection.ops.get_db_converters(column):
        value = convert(value, column, connection)
    return value


# -- workers


def _running() -> dict[_Place, int]:
    """How many jobs of each queue each worker has."""
    rows = Job.objects.using(get_engine().alias).filter(worker__isnull=False)
    counted = rows.values_list("queue", "worker").annotate(count=Count("pk"))
    return {(queue, worker): count for queue, worker, count in counted}


def _workers(now: datetime, running: Mapping[_Place, int]) -> Iterable[WorkerState]:
    jobs: Counter[UUID] = Counter()
    for (_, worker), number in running.items():
        jobs[worker] += number
    rows = Worker.objects.using(get_engine().alias).order_by("hostname", "pid")
    for row in rows:
        yield WorkerState(
            id=row.pk,
            hostname=row.hostname,
            pid=row.pid,
            queues=tuple(row.queues),
            threads=row.threads,
            running=jobs[row.pk],
            started_at=row.started_at,
            heartbeat_at=row.heartbeat_at,
            is_live=workers.is_live(row, now),
            version=row.version,
            memory=row.memory,
            instruction=row.instruction,
        )


def running_jobs(workers: Collection[UUID], limit: int) -> dict[UUID, list[Job]]:
    """What each of ``workers`` is at, what it has had for longest first.

    Args:
        limit: jobs of a worker at the most.
    """
    running = Job.objects.using(get_engine().alias).filter(worker__in=workers)
    place = Window(RowNumber(), partition_by="worker", order_by=("started_at", "pk"))
    # First which, then what of them: a row holds arguments and may be large.
    first = running.annotate(place=place).filter(place__lte=limit)
    ids = list(first.values_list("pk", flat=True))
    rows = Job.objects.using(get_engine().alias).filter(pk__in=ids)
    found: defaultdict[UUID, list[Job]] = defaultdict(list)
    for job in rows.order_by("started_at", "pk").defer("result", "metadata"):
        # It may have ended in between.
        if job.worker is not None:
            found[job.worker].append(job)
    return found


# -- schedules


def schedule_state(schedule: Schedule, now: datetime) -> ScheduleState:
    """What there is to say of a row."""
    stands = schedule.paused_at is not None or schedule.problem != ""
    due = schedule.next_due
    return ScheduleState(
        name=schedule.name,
        next_due=due,
        paused_at=schedule.paused_at,
        problem=schedule.problem,
        is_late=due is not None and not stands and due <= now - LATE,
    )


def _all_schedules() -> QuerySet[Schedule]:
    rows: QuerySet[Schedule] = Schedule.objects.using(get_engine().alias)
    return rows.only("name", "next_due", "paused_at", "problem")
