"""The portable engine: plain ORM, right on every database Django knows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Case, Exists, F, When
from django.db.models.functions import Coalesce
from django.db.models.lookups import Exact
from django.utils import timezone

from django_bgtasks.models import Attempt, Job, JobQuerySet, Queue
from django_bgtasks.models.job import Status, UniqueUntil

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
    "scheduled_for", "expires_at", "store_result", "metadata",
)  # fmt: skip

#: What is written of every new job. Of the other columns, only those are that say
#: something, see ``Job.said_columns``.
INSERTED_COLUMNS = (
    "id", "task", "queue", "priority", "status", "args", "kwargs", "backend",
    "max_attempts", "timeout", "run_after", "enqueued_at", "attempt", "run_token",
    "on_lost",
)  # fmt: skip

#: The end of an INSERT that passes over jobs whose unique key another one has.
UNLESS_TAKEN = "ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL DO NOTHING"

#: A unique key when its job has been claimed, and when it has succeeded.
KEY_AFTER_START = "CASE WHEN unique_until = 'started' THEN NULL ELSE unique_key END"
KEY_AFTER_SUCCESS = "CASE WHEN unique_until = 'period' THEN unique_key END"
_KEY_AFTER_START = Case(
    When(unique_until=UniqueUntil.STARTED, then=None), default=F("unique_key")
)
_KEY_AFTER_SUCCESS = Case(When(unique_until=UniqueUntil.PERIOD, then=F("unique_key")))

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
    #: Seconds until the next question, whatever there is to wait on; None: that is enough.
    interval: float | None = None

    def heard(self) -> frozenset[str] | None:
        """Queues that got jobs since the last question, "" standing for any; or None.

        Does not wait.
        """
        return None

    def awaited(self) -> set[str]:
        """Ids of jobs for whose end somebody has begun to wait since the last question.

        As texts of hexadecimal digits. Does not wait.
        """
        return set()

    def close(self) -> None:
        """Listen no more. The connection is its owner's to close."""


class Engine:
    """How jobs are claimed and settled on one connection."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.alias = connection.alias

    @property
    def skips_locked(self) -> bool:
        """Whether SELECT FOR UPDATE can pass over the rows that others have locked."""
        return self.connection.features.has_select_for_update_skip_locked

    @property
    def reads_old_rows(self) -> bool:
        """Whether a transaction may see rows as they were, unless it locks them."""
        return False

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

    #: Seconds between two looks, at the most, for the end of a job that is awaited.
    longest_look_pause = 0.1

    def may_listen(self) -> bool:
        """Whether to listen would be of use on this connection."""
        return False

    def call_for_ends(self, jobs: Collection[str]) -> None:
        """Ask all workers to ``tell_ended`` for a while, if it is about these jobs.

        Args:
            jobs: their ids, as texts of hexadecimal digits.
        """

    def tell_ended(self, jobs: Collection[str]) -> None:
        """Wake those who wait for the end of these jobs.

        Args:
            jobs: their ids, as texts of hexadecimal digits.
        """

    def end_listener(self) -> Listener:
        """Begin to listen to ``tell_ended``: what is heard are ids, with blanks between.

        On this connection, as long as it is open.
        """
        return Listener()

    def unfinished(self, jobs: Collection[str]) -> set[str]:
        """Those of the jobs that have not ended.

        Past the ORM, for those who wait for short jobs ask often.

        Args:
            jobs: their ids, as texts of hexadecimal digits.
        """
        keys = [self._key(UUID(job_id)) for job_id in jobs]
        table = self.quote(Job._meta.db_table)
        sql = (
            f"SELECT id FROM {table} WHERE finished_at IS NULL "  # noqa: S608 (our own table)
            f"AND id IN ({', '.join(['%s'] * len(keys))})"
        )
        with self.connection.cursor() as cursor:
            cursor.execute(sql, keys)
            return {UUID(str(key)).hex for (key,) in cursor.fetchall()}

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

    def is_deadlock(self, error: Exception) -> bool:
        """Whether this transaction was sacrificed, so that another one could go on.

        Unlike a wait for a lock that took too long, it took no time.
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
        self.insert_in_one(jobs)
        if call is not None:
            self.call(call)

    def insert_in_one(self, jobs: Sequence[Job], unless: str = "") -> None:
        """Write new jobs in one statement.

        Args:
            unless: the rest of the statement, about rows that cannot be written.
        """
        sql, params = self.insert_statement(jobs)
        with self.connection.cursor() as cursor:
            cursor.execute(f"{sql} {unless}", params)

    def insert_unless_taken(self, jobs: Sequence[Job]) -> None:
        """Write new jobs, of different unique keys, but those whose key another one has.

        Where another transaction is about to take or to leave a key, it is waited for.
        """
        for job in jobs:
            # Who has the key is for the caller to find out, if it is that.
            with suppress(IntegrityError), transaction.atomic(using=self.alias):
                self.insert([job])

    def insert_statement(self, jobs: Sequence[Job]) -> tuple[str, list[Any]]:
        """The statement that inserts ``jobs``, and its parameters."""
        said = said_columns(jobs)
        params: list[Any] = []

        def place(value: Any) -> str:
            # What needs no quoting is written out: to a driver, a parameter is work.
            if value is None:
                return "NULL"
            if type(value) is int:
                return str(value)
            params.append(value)
            return "%s"

        rows = [[place(value) for value in self.row_of(job, said)] for job in jobs]
        return self.insert_sql(rows, said), params

    def insert_sql(self, rows: Iterable[Iterable[str]], said: Sequence[str]) -> str:
        """The statement that inserts ``rows`` of SQL expressions.

        Args:
            said: the columns that are written besides those of every job.
        """
        table = self.quote(Job._meta.db_table)
        columns = ", ".join([*INSERTED_COLUMNS, *said])
        values = ", ".join([f"({', '.join(row)})" for row in rows])
        return f"INSERT INTO {table} ({columns}) VALUES {values}"  # noqa: S608 (our own table)

    def row_of(self, job: Job, said: Sequence[str] = ()) -> tuple[Any, ...]:
        """The values of the inserted columns, as this database takes them."""
        moment = self.connection.ops.adapt_datetimefield_value
        row = (
            self._key(job.id),
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
        # Of most jobs, nothing.
        return (*row, *[self._value_of(job, name) for name in said]) if said else row

    def _value_of(self, job: Job, name: str) -> Any:
        field: Any = Job._meta.get_field(name)
        return field.get_db_prep_save(getattr(job, name), self.connection)

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
        return self._claim_first(self._claimable(want), want.limit, worker, now)

    def claim_this(self, job: Job, worker: UUID, now: datetime) -> Job | None:
        """``claim`` of one certain job; None if it cannot be claimed."""
        rows = self._claimable(Want(job.queue, 1)).filter(pk=job.pk)
        return next(iter(self._claim_first(rows, 1, worker, now)), None)

    def _claim_first(
        self, rows: JobQuerySet, limit: int, worker: UUID, now: datetime
    ) -> list[Job]:
        with self.transaction():
            ready = rows.order_by("-priority", "id").select_for_update(
                skip_locked=self.skips_locked
            )
            claimed = list(ready.values_list(*CLAIMED_COLUMNS)[:limit])
            # Locked above, written by key: never an upgrade from a shared lock.
            Job.objects.using(self.alias).filter(
                pk__in=sorted(row[0] for row in claimed)
            ).update(
                status=Status.RUNNING,
                attempt=F("attempt") + 1,
                run_token=F("run_token") + 1,
                worker=worker,
                last_worker=worker,
                started_at=now,
                unique_key=_KEY_AFTER_START,
            )
        jobs = claimed_jobs(self.alias, claimed, worker, now)
        for job in jobs:
            # They were read before the update.
            job.attempt += 1
            job.run_token += 1
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
                .filter(held_by(worker), pk__in=ids, run_token=token)
                .update(
                    status=Status.SUCCESSFUL,
                    finished_at=now,
                    worker=None,
                    result=value,
                    unique_key=_KEY_AFTER_SUCCESS,
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
        rows = Job.objects.using(self.alias).filter(
            pk__in=[job.pk for job in jobs],
            status=Status.SUCCESSFUL,
            last_worker=worker,
        )
        token_of = dict(rows.values_list("pk", "run_token"))
        missing = [job for job in jobs if token_of.get(job.pk) != job.run_token]
        return self._still_there(missing)

    def _still_there(self, jobs: Sequence[Job]) -> list[Job]:
        """``jobs`` without those whose row was deleted, as it is on their success."""
        not_kept = [job.pk for job in jobs if not job.store_result]
        if not not_kept:
            return list(jobs)
        rows = Job.objects.using(self.alias).filter(pk__in=not_kept)
        there = set(rows.values_list("pk", flat=True))
        return [job for job in jobs if job.store_result or job.pk in there]

    def delete_successful(self, jobs: Sequence[Job], worker: UUID) -> list[Job]:
        """Delete jobs that succeeded, each only if ``worker`` still has that run of it.

        Returns:
            The jobs that it had lost; about them nothing was written.
        """
        rows = Job.objects.using(self.alias)
        held = rows.filter(held_by(worker), pk__in=[job.pk for job in jobs])
        token_of = dict(held.select_for_update().values_list("pk", "run_token"))
        mine = [job.pk for job in jobs if token_of.get(job.pk) == job.run_token]
        delete_jobs(rows, mine)
        # What is there no more may have been deleted by the first try of the same.
        return self._still_there([job for job in jobs if job.pk not in set(mine)])

    def quote(self, name: str) -> str:
        """``name`` as an SQL identifier."""
        return self.connection.ops.quote_name(name)


def said_columns(jobs: Sequence[Job]) -> Sequence[str]:
    """The columns that at least one of new jobs says something in."""
    groups = {job.said_columns for job in jobs}
    if len(groups) == 1:
        return groups.pop()
    return sorted(set().union(*groups))


def delete_jobs(rows: JobQuerySet, ids: Sequence[UUID]) -> None:
    """Delete these of ``rows``, and what belongs to them."""
    doomed = rows.filter(pk__in=ids)
    if _only_attempts_refer_to_jobs():
        # delete() would fetch every row first, to cascade from it.
        Attempt.objects.using(rows.db).filter(job__in=ids).delete()
        doomed._raw_delete(rows.db)
    else:
        doomed.delete()


def _only_attempts_refer_to_jobs() -> bool:
    related = [relation.related_model for relation in Job._meta.related_objects]
    return related == [Attempt]


def running(job: Job, worker: UUID | None, alias: str) -> Any:
    """The row of ``job``, as long as ``worker`` still has this run of it.

    On every write about a running job. A worker that was taken for dead finds no
    row here, and so changes nothing.
    """
    return Job.objects.using(alias).filter(
        held_by(worker), pk=job.pk, run_token=job.run_token
    )


def held_by(worker: UUID | None) -> Exact:
    """That jobs are ``worker``'s, asked of rows that are found by their keys.

    In a form that no index answers. Statistics of an idle moment say that nothing is
    running, and PostgreSQL would find the rows by their worker: among everything that
    it has run since the oldest snapshot was taken.
    """
    return Exact(Coalesce("worker", "worker"), worker)


#: What is known of a job that was claimed just now.
_KNOWN_COLUMNS = (
    *CLAIMED_COLUMNS,
    "status", "worker", "last_worker", "started_at", "result", "finished_at",
)  # fmt: skip


def claimed_jobs(
    alias: str, rows: Iterable[Sequence[Any]], worker: UUID, now: datetime
) -> list[Job]:
    """Jobs from their claimed columns and what the claim has written besides.

    As few steps for each as can be, for there are many.
    """
    # A job that has yet to run has no result and no end.
    written = (Status.RUNNING, worker, worker, now, None, None)
    return [
        Job.from_columns(alias, zip(_KNOWN_COLUMNS, (*row, *written), strict=True))
        for row in rows
    ]


def _alike(successes: Iterable[Success]) -> list[tuple[int, Any, list[Job]]]:
    """Successes by run token and value, for one statement can write all that agree."""
    groups: defaultdict[tuple[int, str], list[Job]] = defaultdict(list)
    values: dict[str, Any] = {}
    for job, value in successes:
        text = json.dumps(value)
        values[text] = value
        groups[job.run_token, text].append(job)
    return [(token, values[text], jobs) for (token, text), jobs in groups.items()]
