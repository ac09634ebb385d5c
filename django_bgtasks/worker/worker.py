"""The worker's loop: settle what ended, look after the rows, claim what fits.

One thread runs it and owns the queue's database connection; task code runs only in
the executor's threads, which never touch a job's status.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable
from uuid import UUID

from django.db import DatabaseError, InterfaceError

from django_bgtasks.conf import get_settings
from django_bgtasks.exceptions import WorkerStopping
from django_bgtasks.models import Job
from django_bgtasks.models import Worker as WorkerRow
from django_bgtasks.models.job import new_id
from django_bgtasks.models.worker import Instruction
from django_bgtasks.outcomes import Outcome, Recorded, Released
from django_bgtasks.signals import logger, worker_started, worker_stopped
from django_bgtasks.store import lifecycle, workers
from django_bgtasks.store.engines import get_engine
from django_bgtasks.worker import streams
from django_bgtasks.worker.awaited import Awaited
from django_bgtasks.worker.board import Board, board_size
from django_bgtasks.worker.chores import Chores
from django_bgtasks.worker.clock import Clock
from django_bgtasks.worker.ears import Ears
from django_bgtasks.worker.execution import Execution
from django_bgtasks.worker.executor import Executor
from django_bgtasks.worker.lanes import Lanes
from django_bgtasks.worker.options import WorkerOptions
from django_bgtasks.worker.pace import MEMORY, Pace
from django_bgtasks.worker.patience import Patience
from django_bgtasks.worker.scheduling import sync_schedules
from django_bgtasks.worker.settling import Settler
from django_bgtasks.worker.share import Share
from django_bgtasks.worker.timer import Timer
from django_bgtasks.worker.trouble import Trouble

#: Seconds between two looks whether somebody has cancelled a job, or steers the worker.
WISHES_INTERVAL = 1.0
#: How long interrupted tasks get to unwind before the worker leaves without them.
UNWIND_GRACE = 2.0
#: Jobs that one claim takes at the most: enough for full speed, and on SQLite little
#: enough that nobody else's writing has to wait for long.
BATCH = 500
#: Seconds after a call until jobs are looked for that are due soon.
PROMOTION_DELAY = 0.01
#: Seconds that an outcome may wait for others, to be written together with them,
#: while there is work for the threads.
FLUSH_INTERVAL = 0.01
#: Seconds that a job may have been claimed without a thread having begun it.
LONGEST_WAIT = 5.0


class Worker:
    """Claims and runs jobs until it is stopped, has drained or has run its share.

    Args:
        options: what it shall do.
        clock: tells the time of the database; None: asks it.
        worker_id: the id that it gets; None: a new one.
        board: where its threads say what they are at, if somebody wants to know.
    """

    _row: WorkerRow
    _executor: Executor

    def __init__(
        self,
        options: WorkerOptions,
        clock: Clock | None = None,
        *,
        worker_id: UUID | None = None,
        board: Board | None = None,
    ) -> None:
        self.options = options
        #: Whether this process may still run something of jobs it has handed back.
        self.has_abandoned_jobs = False
        #: Whether it was silent for so long that its jobs were given to others.
        self.was_taken_for_dead = False
        #: Whether it ends so that another one can take its place.
        self.makes_room = False
        #: Whether it ends since somebody wants that, and nobody shall take its place.
        self.ends_for_good = False
        self._id = worker_id or new_id()
        self._is_supervised = board is not None
        self._board = board or Board(bytearray(board_size(options.threads)))
        self._clock = clock or Clock(lambda: get_engine().now())
        self._monotonic = self._clock.monotonic
        self._settings = get_settings()
        self._ears = Ears()
        self._awaited = Awaited(self._ears, self._monotonic)
        self._settler = Settler(self._id, self._clock, self._awaited.tell)
        self._tallier = self._settler.tallier
        self._pace = Pace(options.threads)
        self._lanes = Lanes(options.queues, self._monotonic)
        #: What is claimed and not yet seen to have ended.
        self._running: set[Execution] = set()
        # Filled by the executor's threads; both ends of a deque are safe to use.
        self._ended: deque[tuple[Execution, Outcome]] = deque()
        self._ring_below = 0
        self._share = Share(options, self._monotonic)
        #: What it was told by somebody who steers it; empty: nothing.
        self._told: str = Instruction.QUIET if options.quiet else ""
        #: The same, but for what it does not know.
        self._instruction = self._told
        self._idle = False
        self._stopping = False
        self._trouble = Trouble(self._ears.wait)

    def run(self) -> None:
        """Work until told to stop, or until the options say it is enough.

        Raises:
            DatabaseError: at the start, if the tables cannot be used.
        """
        with self._ears:
            if not self._start_patiently():
                return
            try:
                self._loop(until=self._is_done)
            finally:
                # After an error of ours too: what runs is not left behind.
                try:
                    self.shut_down()
                finally:
                    self.close()

    @property
    def is_quiet(self) -> bool:
        """Whether somebody wants that it claims nothing, until they say otherwise."""
        return self._instruction == Instruction.QUIET

    def stop(self) -> None:
        """Claim no more, let running jobs end, then leave. Safe in signal handlers."""
        self._stopping = True
        self._ears.ring()

    def stop_at_once(self) -> None:
        """A second request to stop; the process is about to end."""

    def _start_patiently(self) -> bool:
        """Start, or be told to stop; under a supervisor, as soon as the database lets it.

        Without one, whoever starts the command is to see that it cannot work.
        """
        while not self._stopping:
            try:
                self.start()
            except (DatabaseError, InterfaceError) as error:
                if not self._is_supervised:
                    raise
                self._trouble.meet(error)
            else:
                self._trouble.is_over()
                return True
        return False

    def start(self) -> None:
        """Say that this worker is there, and get ready to claim."""
        self._connect()
        self._clock.sync()
        self._wishes = Timer(WISHES_INTERVAL, self._monotonic)
        self._patience = Patience(
            get_engine().quick_pause,
            self._settings.poll_interval.total_seconds(),
            self._monotonic,
        )
        self._row = workers.register(
            self._id,
            hostname=socket.gethostname(),
            pid=os.getpid(),
            queues=self.options.queues,
            threads=self.options.threads,
            now=self._clock.now(),
            instruction=self._instruction,
        )
        if self.options.schedules and not self._is_supervised:
            # Else the supervisor does it, once for all workers and their successors.
            sync_schedules(self._clock.now())
        self._chores = Chores(self._id, self._clock, schedules=self.options.schedules)
        left_to_it = lifecycle.running_jobs(self._id) if self.options.isolated else []
        self._executor = Executor(self.options.threads, self._on_end, self._board)
        worker_started.send_robust(type(self), worker=self._row)
        self._begin(left_to_it)

    def tick(self) -> None:
        """One round: claim, settle, look after the rows."""
        # First, for it needs no database, and holds when there is none.
        self._board.beat(self._monotonic())
        self._interrupt_overdue()
        self._collect()
        self._trouble.reconnect(self._connect_again)
        # Before anything that relies on being alive.
        if not self._chores.beat():
            self._leave_jobs_to_others()
        self._heed_calls()
        self._withdraw_what_waits_too_long()
        if not self._lanes:
            # To write them with a claim, one would first have to look for jobs.
            self._settler.settle()
        self._fill()
        self._settler.settle()
        # Last, for whoever has enqueued a job just now waits for the rest.
        self._look_after_rows()

    def wait(self, seconds: float) -> None:
        """Until there is something to do for a round, at most for ``seconds``."""
        if self._has_room():
            # Whatever ends now leaves a thread without work.
            self._ring_below = self._pace.prefetch + self.options.threads
        else:
            # They have enough to do: let outcomes gather, to be written in one go.
            self._ring_below = self._pace.prefetch // 2
            if self._executor.backlog > self._ring_below:
                seconds = min(seconds, FLUSH_INTERVAL)
        if not (self._ended and self._executor.backlog <= self._ring_below):
            if self._has_room():
                self._ears.listen(seconds)
            else:
                self._ears.wait(seconds)
        self._ring_below = -1

    def shut_down(self) -> None:
        """End within the shutdown grace; hand back what still runs then."""
        self._stopping = True
        if not self.was_taken_for_dead:
            self._withdraw_what_waits_too_long()
            if self._running:
                logger.info(
                    "Worker %s waits for what it runs: %s jobs",
                    self._row,
                    len(self._running),
                )
            self._loop_for(self._settings.shutdown_grace.total_seconds())
        for execution in self._running:
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
        for execution in self._running:
            self._settler.add(execution.job, Released(has_begun=True))
        self._running.clear()
        try:
            get_engine().wait_briefly_for_locks()
            self._settler.settle()
            self._tallier.write()
            workers.deregister(self._id)
        except (DatabaseError, InterfaceError):
            logger.exception(
                "The worker ends without the database: %s outcomes are not recorded, "
                "and those jobs will run again",
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
        while not until():
            try:
                self.tick()
            except (DatabaseError, InterfaceError) as error:
                self._survive(error)
                continue
            self._trouble.is_over()
            if not until() and not self._can_go_on():
                self.wait(self._pause(deadline))

    def _survive(self, error: Exception) -> None:
        """What runs goes on, what ended waits in memory; try again in a while.

        Raises:
            Exception: ``error``, if trying again cannot help.
        """
        if self._trouble.meet(error):
            self._chores.trust_nobody_is_lost()

    def _connect_again(self) -> None:
        # Else it would listen to nothing, and what had been claimed would stay so.
        self._connect()
        self._release_strays()

    def _connect(self) -> None:
        engine = get_engine()
        engine.prepare()
        self._ears.open(engine)

    def _release_strays(self) -> None:
        """Hand back what a claim has brought whose answer was lost on its way."""
        known = {execution.job.pk for execution in self._running}
        known.update(self._settler.job_ids)
        for job in lifecycle.running_jobs(self._id):
            if job.pk not in known:
                self._settler.add(job, Released())

    def _is_done(self) -> bool:
        if self._stopping:
            return True
        if self._running or self._settler:
            return False
        if self._instruction:
            # Who is quiet makes no room: another one would do no more.
            return self.ends_for_good or self.options.isolated
        if self._share.is_done:
            self.makes_room = True
            return True
        return self.options.isolated or (self.options.drain and self._idle)

    def _leave_jobs_to_others(self) -> None:
        """Stop what runs here: others have been given it."""
        if self.was_taken_for_dead:
            return
        logger.error(
            "Worker %s was silent for so long that its jobs were given to others; it "
            "ends",
            self._row,
            extra={"worker_id": str(self._id)},
        )
        self._stopping = self.was_taken_for_dead = self.makes_room = True
        self._running.difference_update(self._executor.withdraw())
        for execution in self._running:
            execution.interrupt(WorkerStopping)

    def _on_end(self, execution: Execution, outcome: Outcome) -> None:
        self._ended.append((execution, outcome))
        if self._executor.backlog <= self._ring_below:
            self._ears.ring()

    def _heed_calls(self) -> None:
        self._awaited.listen()
        names = self._ears.take_call()
        if names is None:
            return
        self._lanes.add(names)
        self._patience.renew()
        # It may be about a job that is due before the next look. Not at once: the
        # thread that is to run what was called for waits for the GIL.
        self._chores.look_in(PROMOTION_DELAY)

    def _collect(self) -> None:
        """Take what has ended."""
        jobs, seconds = 0, 0.0
        while self._ended:
            execution, outcome = self._ended.popleft()
            if execution in self._running:
                self._running.remove(execution)
                run = execution.job, outcome, execution.duration
                if isinstance(outcome, Recorded):
                    self._settler.note_recorded(run)
                else:
                    self._settler.add(*run)
                jobs += 1
                seconds += execution.duration
        if jobs:
            self._pace.note(jobs, seconds)

    def _can_go_on(self) -> bool:
        """Whether another round would find something to claim."""
        return bool(self._lanes) and self._has_room()

    def _pause(self, deadline: float | None) -> float:
        """How long there is surely nothing to do, unless something ends."""
        deadlines = [
            execution.deadline
            for execution in self._running
            if execution.deadline is not None
        ]
        if deadline is not None:
            deadlines.append(deadline)
        pauses = [moment - self._monotonic() for moment in deadlines]
        # For wishes, and for the limits of bodies that begin meanwhile. Not when wishes
        # are due: who comes by for other reasons looks at them, and each round costs.
        pauses += [self._chores.rest, WISHES_INTERVAL]
        if not self._instruction:
            pauses.append(self._patience.pause)
        if self._tallier:
            pauses.append(self._tallier.rest)
        return min(pauses)

    def _look_after_rows(self) -> None:
        if self._wishes.is_due():
            self._heed_instruction()
            self._interrupt_cancelled()
            streams.plug_gaps()
        self._share.look_at_memory()
        self._chores.do_what_is_due(stopping=self._stopping)
        self._tallier.write_if_due()

    def _heed_instruction(self) -> None:
        """Do what somebody has told this worker by its row."""
        told = workers.instruction_of(self._id)
        # Without a row it was taken for dead, and the next heartbeat finds out.
        if told is None or told == self._told:
            return
        self._told = told
        self._instruction = "" if workers.is_claiming(told) else told
        self.ends_for_good = told in (Instruction.DRAIN, Instruction.STOP)
        self._stopping |= told == Instruction.STOP
        logger.info(
            "Worker %s was told: %s",
            self._row,
            self._instruction or "work as ever",
            extra={"worker_id": str(self._id)},
        )
        if told != self._instruction:
            logger.warning(
                "Worker %s does not know the instruction %r of a newer version",
                self._row,
                told,
                extra={"worker_id": str(self._id)},
            )
        # So that the next round, which does it, comes at once.
        self._ears.ring()

    def _interrupt_cancelled(self) -> None:
        if not self._running:
            return
        first = min(execution.job.id for execution in self._running)
        requested = set(lifecycle.cancel_requests([self._id], first))
        for execution in self._running:
            if execution.job.id in requested:
                execution.cancel()

    def _interrupt_overdue(self) -> None:
        now = self._monotonic()
        for execution in self._running:
            execution.interrupt_if_overdue(now)

    def _withdraw_what_waits_too_long(self) -> None:
        """Leave to others what was claimed ahead and then met long jobs."""
        first = self._executor.next_in_line
        if first is None:
            return
        waited = self._monotonic() - first.claimed_at
        if self.options.isolated and not self._stopping:
            return
        if waited >= LONGEST_WAIT:
            self._pace.note(MEMORY, MEMORY * waited)
        if waited >= LONGEST_WAIT or self._stopping or self._instruction:
            for execution in self._executor.withdraw():
                self._running.remove(execution)
                self._settler.add(execution.job, Released())
                self._share.take(-1)

    def _fill(self) -> None:
        """Claim what there is room for."""
        room = self._room()
        if room <= 0:
            return
        claimed = self._claim(room)
        if not claimed and self.options.drain and self._chores.promote():
            claimed = self._claim(room)
        self._idle = not claimed
        if claimed:
            self._patience.renew()
        else:
            self._patience.wear()

    def _claim(self, room: int) -> int:
        claimed = 0
        self._lanes.look()
        while claimed < room:
            want = self._lanes.next(min(room - claimed, BATCH))
            if want is None:
                break
            jobs = self._settler.settle_and_claim(want)
            self._lanes.note(want, jobs)
            self._begin(jobs)
            claimed += len(jobs)
        return claimed

    def _begin(self, jobs: list[Job]) -> None:
        executions = [Execution(job, self._clock) for job in jobs]
        self._share.take(len(jobs))
        # Known to be ours before the first of them can end.
        self._running.update(executions)
        self._executor.submit(executions)

    def _has_room(self) -> bool:
        return self._room() > 0

    def _room(self) -> int:
        """How many jobs to claim now: none as long as enough are waiting here."""
        ahead = self._pace.prefetch
        if self._stopping or self._instruction or self.options.isolated:
            return 0
        if ahead and self._executor.backlog > ahead // 2:
            return 0
        return self._share.of(self.options.threads + ahead - len(self._running))
