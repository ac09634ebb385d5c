"""What a supervisor does in the database: heartbeats, and jobs of workers that died."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from django.db import DatabaseError, InterfaceError, connections

from django_bgtasks.exceptions import WorkerLost, WorkerStopping
from django_bgtasks.models import Attempt, Job, Queue, Schedule, Worker
from django_bgtasks.models.job import new_id
from django_bgtasks.signals import logger
from django_bgtasks.store import lifecycle, workers
from django_bgtasks.store.engines import get_engine
from django_bgtasks.worker.board import Run
from django_bgtasks.worker.chores import heartbeat_interval
from django_bgtasks.worker.clock import Clock
from django_bgtasks.worker.rescue import rescue
from django_bgtasks.worker.scheduling import sync_schedules
from django_bgtasks.worker.timer import Timer

#: The exit code of Python after an exception: of ours, in a worker.
FAILURE = 1


@dataclass(frozen=True)
class Death:
    """The end of a worker's process.

    Args:
        worker: its id.
        pid: its process id.
        status: the exit code; the negative number of a signal.
        runs: what its threads were at.
        culprit: the one among them for which it was killed, if it was.
        is_ours: whether it was killed since it did not stop in time.
    """

    worker: UUID
    pid: int | None
    status: int | None
    runs: Sequence[Run]
    culprit: Run | None = None
    is_ours: bool = False

    @property
    def cause(self) -> str:
        """What became of the process, as the beginning of a sentence."""
        process = f"The worker process {socket.gethostname()}:{self.pid}"
        if self.status is not None and self.status < 0:
            return f"{process} was killed by {_signal_name(-self.status)}"
        return f"{process} ended with exit code {self.status}"

    @property
    def is_of_a_job(self) -> bool:
        """Whether it was a job that ended the process, as far as can be seen."""
        return bool(self.runs) and self.status not in (0, FAILURE)

    @property
    def suspects(self) -> set[UUID]:
        """The jobs one of which may have ended the process, where that is not known."""
        begun = {run.job_id for run in self.runs}
        return begun if self.culprit is None and len(begun) > 1 else set()

    def verdict(self, job: Job) -> BaseException | None:
        """What ended a job of this worker; None if it had not begun."""
        if self.culprit is not None and job.pk == self.culprit.job_id:
            return self.culprit.reason()
        if job.pk not in {run.job_id for run in self.runs}:
            return None
        if self.culprit is None and not self.suspects and not self.is_ours:
            return WorkerLost(self.cause, job.attempt, job.max_attempts)
        # It only happened to be there.
        return WorkerStopping()


class Vigil:
    """Keeps a supervisor's workers from being taken for dead, and buries those that are.

    It connects for each look, so that no connection is open when processes are forked.
    """

    def __init__(self) -> None:
        self._clock = Clock(lambda: get_engine().now())
        monotonic = self._clock.monotonic
        self._heartbeat = Timer(heartbeat_interval(), monotonic, rest_first=True)
        self._deaths: list[Death] = []
        self._isolated: list[UUID] = []
        self._in_trouble = False

    def start(self, *, schedules: bool) -> None:
        """See whether the tables can be used.

        Args:
            schedules: whether the workers are to enqueue periodic jobs.

        Raises:
            DatabaseError: they cannot.
        """
        with _connected():
            for model in (Job, Worker, Queue, Attempt, Schedule):
                model.objects.using(get_engine().alias).exists()
            if schedules:
                self._clock.sync()
                sync_schedules(self._clock.now())

    def note(self, death: Death) -> None:
        """A worker has died."""
        self._deaths.append(death)

    @property
    def has_work(self) -> bool:
        """Whether a worker that died has not been buried yet."""
        return bool(self._deaths)

    def keep(self, alive: Collection[UUID], *, stopping: bool) -> list[UUID]:
        """Do what is due.

        Args:
            alive: the ids of the workers that are alive.
            stopping: whether nothing can be started any more.

        Returns:
            Ids of workers to start, isolated, to run again what a process was at when
            it died of one of these jobs.
        """
        if self._deaths or self._heartbeat.rest <= 0:
            self._try(lambda: self._look_after(alive, stopping=stopping))
        isolated, self._isolated = self._isolated, []
        return isolated

    def cancel_requests(self, of: Collection[UUID]) -> list[UUID]:
        """Ids of the jobs that these workers run and somebody wants stopped."""
        asked: list[UUID] = []
        if of:
            self._try(lambda: asked.extend(lifecycle.cancel_requests(of)))
        return asked

    def instruction_of(self, worker: UUID) -> str | None:
        """What a worker was told last; None if that cannot be known."""
        told: list[str | None] = []
        self._try(lambda: told.append(workers.instruction_of(worker)))
        return told[0] if told else None

    def _look_after(self, alive: Collection[UUID], *, stopping: bool) -> None:
        self._clock.sync()
        if self._heartbeat.rest <= 0:
            workers.beat(alive, self._clock.now())
            self._heartbeat.rest_again()
        while self._deaths:
            death = self._deaths[0]
            if death.suspects and not stopping:
                self._isolate(death)
            rescue(death.worker, death.verdict, self._clock)
            # Only now: had the database failed, it would be done again.
            self._deaths.pop(0)

    def _isolate(self, death: Death) -> None:
        """Put the suspects aside, for a worker that runs one of them at a time.

        If that one dies, it is clear of which of them, and only this one is charged
        with an attempt.
        """
        successor = new_id()
        now = self._clock.now()
        with get_engine().transaction():
            workers.register(
                successor,
                hostname=socket.gethostname(),
                pid=os.getpid(),
                queues=(),
                threads=1,
                now=now,
            )
            taken = lifecycle.hand_over(death.suspects, death.worker, successor, now)
            if not taken:
                workers.deregister(successor)
        if taken:
            self._isolated.append(successor)

    def _try(self, work: Callable[[], None]) -> None:
        """Do ``work`` on a connection; what it does not come to is left for later."""
        try:
            with _connected():
                work()
        except (DatabaseError, InterfaceError) as error:
            if not self._in_trouble:
                self._in_trouble = True
                logger.error("The supervisor cannot use the database: %s", error)
        else:
            if self._in_trouble:
                self._in_trouble = False
                logger.info("The supervisor can use the database again")


@contextmanager
def _connected() -> Iterator[None]:
    try:
        get_engine().prepare()
        yield
    finally:
        close_connections()


def close_connections() -> None:
    """Leave nothing open that two processes must not share."""
    for connection in connections.all(initialized_only=True):
        connection.close()
    for alias in connections:
        # Pools are of the process, whichever thread has opened one. This connection
        # only knows it, and is never opened.
        connection = connections.create_connection(alias)
        if hasattr(connection, "close_pool"):
            connection.close_pool()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
