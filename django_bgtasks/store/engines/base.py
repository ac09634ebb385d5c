"""The portable engine: plain ORM, right on every database Django knows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import InterfaceError, OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Exists, F
from django.utils import timezone

from django_bgtasks.models import Job, JobQuerySet, Queue
from django_bgtasks.models.job import Status

#: A job that ran, and what it returned.
Success = tuple[Job, Any]

#: Priority and id of a job, which say how far along its queue a claim has come.
Mark = tuple[int, UUID]


class Want(NamedTuple):
    """What to claim.

    Args:
        queue: its name.
        limit: how many jobs at the most.
        after: the last job that this worker claimed from the queue, to look only
            behind it: jobs of its priority that come after its id. Spares the scan
            of what was claimed since an old snapshot that is still open, for until
            it closes, dead index entries lie at the head of the queue.
    """

    queue: str
    limit: int
    after: Mark | None = None


#: What the worker needs of a row. The claim knows the rest: it has just written it.
CLAIMED_COLUMNS = (
    "id", "task", "queue", "priority", "args", "kwargs", "backend", "max_attempts",
    "timeout", "run_after", "enqueued_at", "attempt", "run_token", "unknown_since",
    "scheduled_for",
)  # fmt: skip

#: What is written of a new job; the other columns are NULL until somebody writes them.
INSERTED_COLUMNS = (
    "id", "task", "queue", "priority", "status", "args", "kwargs", "backend",
    "max_attempts", "timeout", "run_after", "enqueued_at", "attempt", "run_token",
    "on_lost",
)  # fmt: skip

#: For databases whose DISTINCT would read every READY job: hops from name to name along
#: the claim index.
HOP_ALONG_QUEUES = """
    WITH RECURSIVE ready(name) AS (
        SELECT MIN(queue) FROM {job} WHERE status = 'READY'
        UNION ALL
        SELECT (SELECT MIN(queue) FROM {job}
                WHERE status = 'READY' AND queue > ready.name)
        FROM ready WHERE ready.name IS NOT NULL)
    SELECT name FROM ready WHERE name IS NOT NULL
"""


class Listener:
    """Hears that there may be new jobs. This one is deaf: its worker has to look."""

    #: What becomes readable when somebody calls.
    fileno: int | None = None
    #: Seconds between two questions, where there is nothing to wait on but to ask is
    #: cheap.
    interval: float | None = None

    def heard(self) -> frozenset[str] | None:
        """Queues that got jobs since the last question, "" standing for any; or None.

        Does not wait.
        """
        return None


class Engine:
    """How jobs are claimed and settled on one connection."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.alias = connection.alias

    @property
    def skips_locked(self) -> bool:
        """Whether SELECT FOR UPDATE can pass over the rows that others have locked."""
        return self.connection.features.has_select_for_update_skip_locked

    #: Whether names are the same to the database that differ by case alone.
    ignores_case = False

    #: Parameters of a worker's connection, unless the project has set them: where a
    #: host does not answer, it is to fail in seconds, not in a quarter of an hour.
    impatience: Mapping[str, Any] = {}

    def prepare(self) -> None:
        """Open a worker's connection and set it up."""
        settings = self.connection.settings_dict
        options = {**self.impatience, **settings["OPTIONS"]}
        if options.pop("pool", None) and self.connection.connection is not None:
            # One that is kept for ever has no use for a pool, and takes no place there.
            self.connection.close()
        # This connection's own, not what other threads connect with.
        self.connection.settings_dict = {**settings, "OPTIONS": options}
        self.connection.ensure_connection()

    #: Seconds that a worker pauses between looks while there was work just now.
    quick_pause = 0.02

    def call(self, queue: str) -> None:
        """Wake the listeners of all workers.

        Args:
            queue: the name of the queue that got jobs; empty for any.
        """

    def listener(self) -> Listener:
        """Begin to listen to ``call``, on this connection, as long as it is open."""
        return Listener()

    def now(self) -> datetime:
        """The time by the clock that all workers share: the database's.

        Here the host's own, for an embedded database has no other.
        """
        return timezone.now()

    def transaction(self) -> AbstractContextManager[None]:
        """A transaction that is going to write."""
        return transaction.atomic(using=self.alias)

    def is_transient(self, error: Exception) -> bool:
        """Whether trying again may help: a lost connection, a lock, a deadlock."""
        return isinstance(error, (OperationalError, InterfaceError))

    def is_conflict(self, error: Exception) -> bool:
        """Whether another transaction stood in the way: a deadlock, a lock, a race.

        This one changed nothing, and may be tried again at once.
        """
        return False

    def query_canceller(self) -> Callable[[], None]:
        """What other threads may call to let the query fail that this one waits for.

        Good for this connection until it is closed. If there is no query, a call does
        nothing; but it must have returned before the thread goes on to other work.
        """
        return lambda: None

    def is_at_rest(self) -> bool:
        """Whether the connection is open and in no transaction.

        As far as the driver knows without asking the database: Django does not see
        what was done past it, such as BEGIN.
        """
        return True

    def wait_briefly_for_locks(self) -> None:
        """From now on, fail where another transaction holds a lock for seconds."""

    def insert(self, jobs: Sequence[Job], call: str | None = None) -> None:
        """Write new jobs; more than one in the caller's transaction.

        Past the ORM, which takes longer to put an INSERT together than the database
        takes to do it.

        Args:
            call: also ``call()`` for this queue.
        """
        params = [value for job in jobs for value in self.row_of(job)]
        with self.connection.cursor() as cursor:
            cursor.execute(self.insert_sql(len(jobs)), params)
        if call is not None:
            self.call(call)

    def insert_sql(self, count: int) -> str:
        """The statement that inserts ``count`` rows."""
        row = f"({', '.join(['%s'] * len(INSERTED_COLUMNS))})"
        table = self.quote(Job._meta.db_table)
        columns = ", ".join(INSERTED_COLUMNS)
        rows = ", ".join([row] * count)
        return f"INSERT INTO {table} ({columns}) VALUES {rows}"  # noqa: S608 (our own table)

    def row_of(self, job: Job) -> tuple[Any, ...]:
        """The values of the inserted columns, as this database takes them."""
        moment = self.connection.ops.adapt_datetimefield_value
        return (
            self._key(job.pk),
            job.task,
            job.queue,
            job.priority,
            job.status,
            json.dumps(job.args) if job.args else "[]",
            json.dumps(job.kwargs) if job.kwargs else "{}",
            job.backend,
            job.max_attempts,
            job.timeout,
            moment(job.run_after),
            moment(job.enqueued_at),
            job.attempt,
            job.run_token,
            job.on_lost,
        )

    def _key(self, key: UUID) -> str:
        native = self.connection.features.has_native_uuid_field
        return str(key) if native else key.hex

    #: Selects the names of all queues with READY jobs.
    ready_queues_sql = "SELECT DISTINCT queue AS name FROM {job} WHERE status = 'READY'"

    def ready_queues(self, among: Sequence[str] = ()) -> list[str]:
        """Names of the queues with READY jobs, without the paused ones.

        Args:
            among: only these; empty for all. What counts as the same name is the
                database's to say.
        """
        ready = self.ready_queues_sql.format(job=self.quote(Job._meta.db_table))
        paused = self.quote(Queue._meta.db_table)
        sql = (
            f"SELECT name FROM ({ready}) AS ready WHERE name NOT IN "  # noqa: S608 (our own tables)
            f"(SELECT name FROM {paused} WHERE paused_at IS NOT NULL)"
        )
        if among:
            sql += f" AND name IN ({', '.join(['%s'] * len(among))})"
        with self.connection.cursor() as cursor:
            cursor.execute(f"{sql} ORDER BY name", list(among))
            return [name for (name,) in cursor.fetchall()]

    def claim(self, want: Want, worker: UUID, now: datetime) -> list[Job]:
        """Make READY jobs RUNNING for ``worker``, as many as are wanted.

        Rows that another worker is claiming are passed over, not waited for; nothing
        is claimed from a queue that is paused.

        Returns:
            The jobs, highest priority first, then oldest first.
        """
        with self.transaction():
            jobs = list(
                self._claimable(want)
                .order_by("-priority", "id")
                .select_for_update(skip_locked=self.skips_locked)[: want.limit]
            )
            # Locked above, written by key: never an upgrade from a shared lock.
            Job.objects.using(self.alias).filter(
                pk__in=sorted(job.pk for job in jobs)
            ).update(
                status=Status.RUNNING,
                attempt=F("attempt") + 1,
                run_token=F("run_token") + 1,
                worker=worker,
                last_worker=worker,
                started_at=now,
            )
        for job in jobs:
            job.attempt += 1
            job.run_token += 1
            mark_claimed(job, worker, now)
        return jobs

    def _claimable(self, want: Want) -> JobQuerySet:
        rows = Job.objects.using(self.alias).ready().filter(queue=want.queue)
        if want.after is not None:
            priority, job_id = want.after
            rows = rows.filter(priority=priority, id__gt=job_id)
        paused = Queue.objects.filter(name=want.queue, paused_at__isnull=False)
        return rows.filter(~Exists(paused))

    def finish_successful(
        self, successes: Sequence[Success], worker: UUID, now: datetime
    ) -> list[Job]:
        """Record successes, each only if ``worker`` still has that run of the job.

        Returns:
            The jobs that it had lost; about them nothing was written.
        """
        lost: list[Job] = []
        for token, value, jobs in _alike(successes):
            ids = [job.pk for job in jobs]
            recorded = (
                Job.objects.using(self.alias)
                .filter(pk__in=ids, worker=worker, run_token=token)
                .update(
                    status=Status.SUCCESSFUL,
                    finished_at=now,
                    worker=None,
                    result=value,
                )
            )
            if recorded < len(jobs):
                lost += self.not_recorded(jobs, worker)
        return lost

    def finish_and_claim(
        self,
        successes: Sequence[Success],
        want: Want,
        worker: UUID,
        now: datetime,
    ) -> tuple[list[Job], list[Job]]:
        """``finish_successful`` and ``claim`` in one transaction.

        Returns:
            The jobs that were lost, and those that were claimed.
        """
        with self.transaction():
            return (
                self.finish_successful(successes, worker, now),
                self.claim(want, worker, now),
            )

    def not_recorded(self, jobs: Sequence[Job], worker: UUID) -> list[Job]:
        """Those of ``jobs`` whose success ``worker`` has not recorded.

        Not what a write just now has changed: it may be the second try of one whose
        commit was never heard of.
        """
        rows = Job.objects.using(self.alias).successful()
        rows = rows.filter(pk__in=[job.pk for job in jobs], last_worker=worker)
        token_of = dict(rows.values_list("pk", "run_token"))
        return [job for job in jobs if token_of.get(job.pk) != job.run_token]

    def quote(self, name: str) -> str:
        """``name`` as an SQL identifier."""
        return self.connection.ops.quote_name(name)


def running(job: Job, worker: UUID | None, alias: str) -> Any:
    """The row of ``job``, as long as ``worker`` still has this run of it.

    On every write about a running job. A worker that was taken for dead finds no
    row here, and so changes nothing.
    """
    return Job.objects.using(alias).filter(
        pk=job.pk, worker=worker, run_token=job.run_token
    )


def claimed_job(alias: str, row: Sequence[Any]) -> Job:
    """A job from its claimed columns."""
    columns = dict(zip(CLAIMED_COLUMNS, row, strict=True))
    # None of a job that has yet to run; its last progress may be asked for.
    columns["result"] = columns["finished_at"] = None
    return Job.from_columns(alias, columns)


def mark_claimed(job: Job, worker: UUID, now: datetime) -> None:
    """Let the object say what the claim wrote into its row."""
    job.status = Status.RUNNING
    job.worker = job.last_worker = worker
    job.started_at = now


def _alike(successes: Iterable[Success]) -> list[tuple[int, Any, list[Job]]]:
    """Successes by run token and value, for one statement can write all that agree."""
    groups: defaultdict[tuple[int, str], list[Job]] = defaultdict(list)
    values: dict[str, Any] = {}
    for job, value in successes:
        text = json.dumps(value)
        values[text] = value
        groups[job.run_token, text].append(job)
    return [(token, values[text], jobs) for (token, text), jobs in groups.items()]
