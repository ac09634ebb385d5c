"""Worker processes: started, watched over, replaced."""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import RawArray
from typing import Any
from uuid import UUID

from django_bgtasks.bell import Bell
from django_bgtasks.conf import get_settings
from django_bgtasks.models.job import new_id
from django_bgtasks.models.worker import Instruction
from django_bgtasks.signals import logger
from django_bgtasks.worker import child
from django_bgtasks.worker.board import Board, Run, board_size
from django_bgtasks.worker.chores import heartbeat_interval
from django_bgtasks.worker.interpreter import tune_interpreter
from django_bgtasks.worker.options import WorkerOptions
from django_bgtasks.worker.vigil import Death, Vigil, close_connections
from django_bgtasks.worker.worker import UNWIND_GRACE

#: Seconds between two looks at what the workers are at.
LOOK_INTERVAL = 1.0
#: Seconds until a worker that died is replaced, doubled each time that it dies soon.
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
#: A worker whose loop did not come by for so many seconds may be held up by a task.
STUCK = 3.0
#: One whose loop did not come by for so many seconds, and runs no job that may hold it
#: up, hangs.
HUNG = 300.0
#: A worker that lives for so many seconds has not died soon.
SOON = 60.0
#: Seconds that a worker may take to end, after all its graces.
LEEWAY = 5.0
#: What a worker that has ended by itself was told, by its exit code: its row is gone.
_TOLD: dict[int | None, str] = {
    0: "",
    child.MAKES_ROOM: "",
    child.STAYS_QUIET: Instruction.QUIET,
    child.ENDS_FOR_GOOD: Instruction.STOP,
}


@dataclass
class _Seat:
    """A place for a worker, whichever process it is at the time."""

    options: WorkerOptions
    memory: Any
    worker: UUID = field(default_factory=new_id)
    process: BaseProcess | None = None
    #: What its process is told by.
    orders: Connection | None = None
    started_at: float = 0.0
    pause: float = FIRST_PAUSE
    start_at: float = 0.0
    #: The job for which its process was killed.
    culprit: Run | None = None

    @property
    def board(self) -> Board:
        return Board(self.memory)


class Supervisor:
    """Starts workers as child processes, and replaces those that die.

    It runs no task, and so answers whatever tasks do: it says that the workers are alive
    while a task holds the GIL, kills the process of a job that heeds no interruption,
    and takes back what a worker that died was at.

    On Linux the workers are forked, and so share the memory of the project's code.

    Args:
        options: for each worker.
        processes: how many.
        fork: whether they may be forked; not with other threads in this process.
    """

    #: This process runs no tasks itself.
    has_abandoned_jobs = False

    def __init__(
        self, options: WorkerOptions, processes: int, *, fork: bool = True
    ) -> None:
        #: 1 if a worker that was to drain could not work.
        self.exit_code = 0
        self._options = options
        self._context = multiprocessing.get_context(
            "fork" if fork and sys.platform == "linux" else "spawn"
        )
        self._seats = [self._new_seat(options) for _ in range(processes)]
        self._vigil = Vigil()
        self._bell = Bell()
        self._stopping = False
        self._is_out_of_patience = False

    def run(self) -> None:
        """Keep the workers running until they are done or told to stop.

        Raises:
            DatabaseError: at the start, if the tables cannot be used.
        """
        self._vigil.start(schedules=self._options.schedules)
        close_connections()
        tune_interpreter()
        try:
            while (self._seats or self._vigil.has_work) and not self._stopping:
                self._start_missing()
                self._watch()
            self._end_workers()
        finally:
            # After an error of ours they end by themselves, and Python waits for them.
            self._tell_workers_to_stop()
            self._bell.close()

    def stop(self) -> None:
        """Let the workers stop as by SIGTERM, then end. Safe in signal handlers."""
        self._stopping = True
        self._bell.ring()

    def stop_at_once(self) -> None:
        """A second request to stop: the workers end without their grace."""
        for seat in self._occupied():
            seat.process.kill()

    def _new_seat(self, options: WorkerOptions, **state: Any) -> _Seat:
        size = board_size(options.threads)
        return _Seat(options, RawArray(ctypes.c_ubyte, size), **state)

    def _occupied(self) -> list[Any]:
        return [seat for seat in self._seats if seat.process is not None]

    def _start_missing(self) -> None:
        for seat in self._seats:
            if seat.process is None and time.monotonic() >= seat.start_at:
                try:
                    self._start(seat)
                except OSError as error:
                    seat.process = None
                    self._plan_replacement(seat, f"No worker can be started: {error}")

    def _start(self, seat: _Seat) -> None:
        seat.board.wipe()
        # It has yet to come up.
        seat.board.beat(time.monotonic())
        seat.culprit = None
        seat.started_at = time.monotonic()
        orders, seat.orders = self._context.Pipe(duplex=False)
        seat.process = self._context.Process(  # type: ignore[attr-defined]  # all contexts have it
            target=child.main,
            args=(seat.options, seat.worker, seat.memory, orders),
            name="bgtasks-worker",
        )
        with _no_signals():
            seat.process.start()
        orders.close()

    def _watch(self) -> None:
        """One look after the workers, as soon as there may be something to see."""
        self._wait()
        self._remove_dead()
        self._cancel_for_stuck()
        self._kill_overdue()
        self._kill_hung()
        alive = [seat.worker for seat in self._occupied()]
        for worker in self._vigil.keep(alive, stopping=self._stopping):
            alone = replace(self._options, threads=1, isolated=True, schedules=False)
            self._seats.append(self._new_seat(alone, worker=worker))

    def _wait(self) -> None:
        """Until a worker dies, a missing one may be started, or somebody calls."""
        now = time.monotonic()
        missing = [seat.start_at - now for seat in self._seats if seat.process is None]
        sentinels = [seat.process.sentinel for seat in self._occupied()]
        pause = min([LOOK_INTERVAL, heartbeat_interval() / 2, *missing])
        if wait([self._bell.reader, *sentinels], max(pause, 0)):
            self._bell.wait(0)

    def _remove_dead(self) -> None:
        for seat in self._occupied():
            if not seat.process.is_alive():
                process, seat.process = seat.process, None
                seat.orders.close()
                death = Death(
                    worker=seat.worker,
                    pid=process.pid,
                    status=process.exitcode,
                    runs=seat.board.runs(),
                    culprit=seat.culprit,
                    is_ours=self._is_out_of_patience,
                )
                self._vigil.note(death)
                self._plan(seat, death, self._told(seat, death))

    def _told(self, seat: _Seat, death: Death) -> str | None:
        """What a worker had been told when it died; None if that cannot be known."""
        if death.status in _TOLD:
            return _TOLD[death.status]
        return self._vigil.instruction_of(seat.worker)

    def _plan(self, seat: _Seat, death: Death, told: str | None) -> None:
        """Decide what becomes of a seat whose worker has ended."""
        makes_room = death.status in (child.MAKES_ROOM, child.STAYS_QUIET)
        seat.worker = new_id()
        if told is not None:
            seat.options = replace(seat.options, quiet=told == Instruction.QUIET)
        if told in (Instruction.DRAIN, Instruction.STOP):
            self._seats.remove(seat)
            logger.info("%s, as it was told; no other one starts", death.cause)
        elif seat.options.isolated:
            self._seats.remove(seat)
            if self._options.drain:
                # It may have handed back jobs when the others had ended already.
                self._seats.append(self._new_seat(self._options))
        elif makes_room or death.is_of_a_job:
            # At once, for a job cannot do that more often than it has attempts.
            seat.start_at = 0.0
            if not makes_room and seat.culprit is None:
                logger.error("%s; another one starts", death.cause)
        elif seat.options.drain:
            # Whoever waits for the end is to see a failure of ours, not another try.
            self._seats.remove(seat)
            self.exit_code = self.exit_code or int(death.status != 0)
        elif not self._stopping:
            self._plan_replacement(seat, death.cause)

    def _plan_replacement(self, seat: _Seat, cause: str) -> None:
        lived = time.monotonic() - seat.started_at
        seat.pause = FIRST_PAUSE if lived > SOON else seat.pause
        logger.error("%s; another one starts in %.1f s", cause, seat.pause)
        seat.start_at = time.monotonic() + seat.pause
        seat.pause = min(seat.pause * 2, LONGEST_PAUSE)

    def _cancel_for_stuck(self) -> None:
        """Look whether jobs are cancelled, for workers whose loop cannot."""
        now = time.monotonic()
        stuck = [s for s in self._occupied() if s.board.pulse < now - STUCK]
        asked = self._vigil.cancel_requests([seat.worker for seat in stuck])
        deadline = now + get_settings().interrupt_grace.total_seconds()
        for seat in stuck:
            seat.board.cancel_all(asked, deadline)

    def _kill_overdue(self) -> None:
        """End processes with a job that was interrupted and goes on past its grace."""
        for seat in self._occupied():
            now = time.monotonic()
            overdue = {run for run in seat.board.runs() if run.deadline <= now}
            # Twice, for the board may have been read while it was written.
            overdue &= set(seat.board.runs())
            if overdue and seat.culprit is None:
                seat.culprit = overdue.pop()
                logger.error(
                    "The job %s goes on though it was interrupted (%s); its process is "
                    "killed",
                    seat.culprit.job_id,
                    seat.culprit.reason.message,
                    extra={"job_id": str(seat.culprit.job_id)},
                )
                seat.process.kill()

    def _kill_hung(self) -> None:
        """End workers that do nothing any more, whatever a job has done to them."""
        for seat in self._occupied():
            silence = time.monotonic() - seat.board.pulse
            if silence > HUNG and not seat.board.runs():
                logger.error(
                    "A worker has not moved for %.0f s, and runs no job; its process "
                    "is killed",
                    silence,
                )
                seat.process.kill()

    def _tell_workers_to_stop(self) -> None:
        for seat in self._occupied():
            with suppress(BrokenPipeError):  # it has just ended by itself
                seat.orders.send_bytes(b"stop")

    def _end_workers(self) -> None:
        self._tell_workers_to_stop()
        grace = get_settings().shutdown_grace.total_seconds() + UNWIND_GRACE + LEEWAY
        deadline = time.monotonic() + grace
        while self._occupied() and time.monotonic() < deadline:
            self._watch()
        self._is_out_of_patience = True
        self.stop_at_once()
        for seat in self._occupied():
            seat.process.join()
        self._remove_dead()
        self._vigil.keep([], stopping=True)


@contextmanager
def _no_signals() -> Iterator[None]:
    """Hold signals back: a child is born with this process's handlers for them.

    It lets them in when it has its own.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, child.SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
