"""The worker's loop: settle what ended, look after the rows, claim what fits.

One thread runs it and owns the queue's database connection; task code runs only in
the executor's threads, which never touch a job's status.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from uuid import UUID

from django.db import DatabaseError, InterfaceError

from django_bgtasks.conf import get_settings
from django_bgtasks.exceptions import (
    CancelRequested,
    TimeLimitExceeded,
    WorkerStopping,
)
from django_bgtasks.models import Job
from django_bgtasks.models import Worker as WorkerRow
from django_bgtasks.outcomes import Outcome, Released
from django_bgtasks.signals import logger, worker_started, worker_stopped
from django_bgtasks.store import lifecycle, maintenance, workers
from django_bgtasks.store.engines import get_engine
from django_bgtasks.worker.clock import Clock
from django_bgtasks.worker.execution import Execution
from django_bgtasks.worker.executor import Executor
from django_bgtasks.worker.settling import Settler, may_pass
from django_bgtasks.worker.timer import Timer

HEARTBEAT_INTERVAL = 10.0
CANCEL_CHECK_INTERVAL = 1.0
PRUNE_INTERVAL = 300.0
#: How long interrupted tasks get to unwind before the worker leaves without them.
UNWIND_GRACE = 2.0
#: The longest pause between two tries to reach a database in trouble.
LONGEST_BACKOFF = 5.0


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """What a worker shall do.

    Args:
        queues: names of the queues to work on; empty for all.
        threads: jobs to run at the same time.
        drain: end when nothing is due.
        max_jobs: end after so many jobs; None: no limit.
    """

    queues: Sequence[str] = ()
    threads: int = 1
    drain: bool = False
    max_jobs: int | None = None


class Worker:
    """Claims and runs jobs until it is stopped, has drained or has run its share."""

    _row: WorkerRow
    _executor: Executor
    _settler: Settler

    def __init__(
        self,
        options: WorkerOptions,
        clock: Clock | None = None,
    ) -> None:
        self.options = options
        #: Whether this process may still run something of jobs it has handed back.
        self.has_abandoned_jobs = False
        self._clock = clock or Clock(lambda: get_engine().now())
        self._monotonic = self._clock.monotonic
        self._settings = get_settings()
        # Outcomes, and None to wake the loop. A SimpleQueue, for a signal handler
        # may put into it at any moment without a deadlock.
        self._inbox: SimpleQueue[tuple[Execution, Outcome] | None] = SimpleQueue()
        self._running: dict[UUID, Execution] = {}
        self._claimed = 0
        self._turn = 0
        self._idle = False
        self._stopping = False
        self._in_trouble = False

    def run(self) -> None:
        """Work until told to stop, or until the options say it is enough.

        Raises:
            DatabaseError: at the start, if the tables cannot be used.
        """
        self.start()
        try:
            self._loop(until=self._is_done)
        finally:
            # After an error of ours too: what runs is not left behind.
            try:
                self.shut_down()
            finally:
                self.close()

    def stop(self) -> None:
        """Claim no more, let running jobs end, then leave. Safe in signal handlers."""
        self._stopping = True
        self._inbox.put(None)

    def start(self) -> None:
        """Say that this worker is there, and get ready to claim."""
        get_engine().prepare()
        self._clock.sync()
        self._heartbeat = Timer(HEARTBEAT_INTERVAL, self._monotonic, rest_first=True)
        # Due jobs may be more urgent than a long queue of ready ones.
        self._promotion = Timer(
            self._settings.poll_interval.total_seconds(), self._monotonic
        )
        self._cancel_check = Timer(CANCEL_CHECK_INTERVAL, self._monotonic)
        self._prune = Timer(PRUNE_INTERVAL, self._monotonic)
        self._row = workers.register(
            hostname=socket.gethostname(),
            pid=os.getpid(),
            queues=self.options.queues,
            threads=self.options.threads,
            now=self._clock.now(),
        )
        self._settler = Settler(self._row.pk, self._clock)
        self._executor = Executor(self.options.threads, self._on_end)
        worker_started.send_robust(type(self), worker=self._row)

    def tick(self) -> None:
        """One round: settle, look after the rows, claim."""
        # First, for it needs no database, and holds when there is none.
        self._interrupt_overdue()
        self._settler.settle()
        self._look_after_rows()
        self._fill()

    def wait(self, seconds: float) -> None:
        """Until something ended or somebody called, but no longer than ``seconds``."""
        try:
            self._take(self._inbox.get(timeout=max(seconds, 0)))
            while True:
                self._take(self._inbox.get_nowait())
        except Empty:
            pass

    def shut_down(self) -> None:
        """End within the shutdown grace; hand back what still runs then."""
        self._stopping = True
        self._loop_for(self._settings.shutdown_grace.total_seconds())
        for execution in self._running.values():
            execution.interrupt(WorkerStopping)
            # Its body is cancelled, but nothing stops the threads that it has used.
            self.has_abandoned_jobs |= execution.is_async
        self._loop_for(UNWIND_GRACE)
        self._leave()

    def close(self) -> None:
        """Let the threads go, those that still run a task too."""
        self._executor.close()
        worker_stopped.send_robust(type(self), worker=self._row)

    def _leave(self) -> None:
        # What still runs has ignored everything. Whatever it does from now on, its
        # outcome is no longer asked for.
        self.has_abandoned_jobs |= bool(self._running)
        for execution in self._running.values():
            self._settler.add(execution.job, Released())
        self._running.clear()
        try:
            get_engine().wait_briefly_for_locks()
            self._settler.settle()
            workers.deregister(self._row.pk)
        except (DatabaseError, InterfaceError):
            logger.exception(
                "The worker ends without the database: %s jobs stay RUNNING",
                len(self._settler),
            )

    def _loop_for(self, seconds: float) -> None:
        """Settle what ends, for as long as something runs, but no longer than that."""
        deadline = self._monotonic() + seconds
        self._loop(
            until=lambda: (
                not (self._running or self._settler) or self._monotonic() >= deadline
            ),
            deadline=deadline,
        )

    def _loop(self, until: Callable[[], bool], deadline: float | None = None) -> None:
        failures = 0
        while not until():
            try:
                self.tick()
            except (DatabaseError, InterfaceError) as error:
                failures += 1
                self._survive(error, failures)
                continue
            failures = 0
            if self._in_trouble:
                self._in_trouble = False
                logger.info("The database answers again")
            if not until():
                self.wait(self._pause(deadline))

    def _survive(self, error: Exception, failures: int) -> None:
        """What runs goes on, what ended waits in memory; try again in a while.

        Raises:
            Exception: ``error``, if trying again cannot help.
        """
        engine = get_engine()
        if engine.is_conflict(error) and failures == 1:
            return
        if not may_pass(error):
            raise error
        if not self._in_trouble:
            self._in_trouble = True
            logger.error("The database is in trouble; trying on: %s", error)
        engine.connection.close()
        self.wait(min(0.1 * 2 ** min(failures, 10), LONGEST_BACKOFF))
        try:
            engine.prepare()
        except (DatabaseError, InterfaceError):
            # The next tick will fail and say so.
            engine.connection.close()

    def _is_done(self) -> bool:
        if self._stopping:
            return True
        if self._running or self._settler:
            return False
        return self._has_run_its_share() or (self.options.drain and self._idle)

    def _on_end(self, execution: Execution, outcome: Outcome) -> None:
        self._inbox.put((execution, outcome))

    def _take(self, message: tuple[Execution, Outcome] | None) -> None:
        if message is None:
            return
        execution, outcome = message
        if self._running.pop(execution.job.pk, None) is not None:
            self._settler.add(execution.job, outcome)

    def _pause(self, deadline: float | None) -> float:
        """How long there is surely nothing to do, unless something ends."""
        deadlines = [
            execution.deadline
            for execution in self._running.values()
            if execution.deadline is not None
        ]
        if deadline is not None:
            deadlines.append(deadline)
        pauses = [moment - self._monotonic() for moment in deadlines]
        pauses.append(self._settings.poll_interval.total_seconds())
        if self._running:
            # Somebody may cancel, and a body that begins may set a time limit.
            pauses.append(CANCEL_CHECK_INTERVAL)
        return min(pauses)

    def _look_after_rows(self) -> None:
        if self._heartbeat.is_due():
            self._clock.sync()
            workers.beat(self._row.pk, self._clock.now())
        if self._promotion.is_due():
            maintenance.promote(self._clock.now())
        if self._running and self._cancel_check.is_due():
            self._interrupt_cancelled()
        if not self._stopping and self._prune.is_due():
            self._prune_a_batch()

    def _prune_a_batch(self) -> None:
        try:
            pruned = maintenance.prune(self._clock.now(), self._settings.retention)
        except DatabaseError as error:
            if may_pass(error):
                raise
            # A table of the project's may hold on to its jobs. That is no reason to
            # do no work.
            logger.exception("Old jobs cannot be deleted")
            return
        if pruned == maintenance.BATCH:
            # There is more. One batch a round, so that jobs do not wait for it.
            self._prune.make_due()

    def _interrupt_cancelled(self) -> None:
        for job_id in lifecycle.cancel_requests(self._row.pk):
            if job_id in self._running:
                self._running[job_id].interrupt(CancelRequested)

    def _interrupt_overdue(self) -> None:
        now = self._monotonic()
        for execution in self._running.values():
            if execution.is_overdue(now):
                execution.interrupt(TimeLimitExceeded)

    def _fill(self) -> None:
        room = self._room()
        if room <= 0:
            return
        jobs = self._claim(room)
        if not jobs and maintenance.promote(self._clock.now()):
            jobs = self._claim(room)
        self._idle = not jobs
        self._claimed += len(jobs)
        executions = {job.pk: Execution(job, self._clock) for job in jobs}
        # All of them before one is started: they are ours from here on.
        self._running |= executions
        for execution in executions.values():
            self._executor.submit(execution)

    def _claim(self, limit: int) -> list[Job]:
        queues = self._queues_in_turn()
        return lifecycle.claim(self._row.pk, queues, limit, self._clock.now())

    def _room(self) -> int:
        if self._stopping:
            return 0
        room = self.options.threads - len(self._running)
        if self.options.max_jobs is None:
            return room
        return min(room, self.options.max_jobs - self._claimed)

    def _has_run_its_share(self) -> bool:
        limit = self.options.max_jobs
        return limit is not None and self._claimed >= limit

    def _queues_in_turn(self) -> list[str]:
        """Queues with READY jobs, another one first each time, so none starves."""
        ready = get_engine().ready_queues(self.options.queues)
        if not ready:
            return []
        self._turn += 1
        first = self._turn % len(ready)
        return ready[first:] + ready[:first]
