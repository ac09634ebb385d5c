"""Where executions run: a fixed number of threads that do nothing else."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import copy_context
from queue import SimpleQueue

from django.db import close_old_connections, connections

from django_bgtasks.outcomes import Outcome
from django_bgtasks.worker.board import Board
from django_bgtasks.worker.event_loop import EventLoop
from django_bgtasks.worker.execution import Execution

#: Called with an execution and its outcome, in the thread that ran it.
Ending = Callable[[Execution, Outcome], None]


class Executor:
    """Threads that run executions, in the order in which they were submitted.

    A thread stands for one job at a time, also while an ``async def`` task of it runs
    on the event loop. What waits is in a deque that all threads take from: no lock is
    held, and no job waits behind a long one while another thread is free.

    Args:
        threads: how many.
        on_end: told of each outcome.
        board: where they say what they are at.
    """

    def __init__(self, threads: int, on_end: Ending, board: Board) -> None:
        self._on_end = on_end
        self._board = board
        self._waiting: deque[Execution] = deque()
        # True for every thread that should look; False for every one that should end.
        self._calls: SimpleQueue[bool] = SimpleQueue()
        self._event_loop = EventLoop()
        # Daemons, for a task that ignores its interruption must not keep the
        # process from ending.
        self._threads = [
            threading.Thread(
                target=self._work, args=(n,), name=f"bgtasks-{n}", daemon=True
            )
            for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def backlog(self) -> int:
        """How many executions wait for a thread."""
        return len(self._waiting)

    @property
    def next_in_line(self) -> Execution | None:
        """The execution that has waited longest."""
        try:
            return self._waiting[0]
        except IndexError:
            return None

    def submit(self, executions: Sequence[Execution]) -> None:
        """Run ``executions`` as soon as threads are free."""
        self._waiting.extend(executions)
        # A call that nobody has taken yet will make its thread see these, too.
        wanted = min(len(executions), len(self._threads))
        for _ in range(wanted - self._calls.qsize()):
            self._calls.put(True)

    def withdraw(self) -> list[Execution]:
        """Take back what no thread has begun."""
        withdrawn: list[Execution] = []
        while (execution := self._next()) is not None:
            withdrawn.append(execution)
        return withdrawn

    def close(self) -> None:
        """Let idle threads end. Does not wait for busy ones."""
        for _ in self._threads:
            self._calls.put(False)
        self._event_loop.close()

    def _work(self, slot: int) -> None:
        while self._calls.get():
            # They may have gone bad while the thread was idle.
            close_old_connections()
            while (execution := self._next()) is not None:
                execution.begin(self._board, slot)
                # In a context of its own: what a job sets in there (Django's time zone
                # and language are among it) is gone with it.
                outcome = copy_context().run(execution.run, self._event_loop)
                self._on_end(execution, outcome)
            self._board.clear(slot)
        connections.close_all()

    def _next(self) -> Execution | None:
        try:
            return self._waiting.popleft()
        except IndexError:
            return None
