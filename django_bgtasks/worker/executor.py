"""Where executions run: threads for plain functions, one event loop for ``async``."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import cached_property
from queue import SimpleQueue

from django_bgtasks.outcomes import Outcome
from django_bgtasks.worker.execution import Execution

#: Called with an execution and its outcome, in the thread that ran it.
Ending = Callable[[Execution, Outcome], None]


class Executor:
    """A fixed number of threads that do nothing but run tasks.

    Args:
        threads: how many.
        on_end: told of each outcome.
    """

    def __init__(self, threads: int, on_end: Ending) -> None:
        self._on_end = on_end
        self._inbox: SimpleQueue[Execution | None] = SimpleQueue()
        # Daemons, for a task that ignores its interruption must not keep the
        # process from ending.
        self._threads = [
            threading.Thread(target=self._work, name=f"bgtasks-{n}", daemon=True)
            for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, execution: Execution) -> None:
        """Run ``execution`` as soon as a thread is free; ``async`` ones at once."""
        if execution.is_async:
            asyncio.run_coroutine_threadsafe(self._await(execution), self._event_loop)
        else:
            self._inbox.put(execution)

    def close(self) -> None:
        """Let idle threads end. Does not wait for busy ones."""
        for _ in self._threads:
            self._inbox.put(None)
        if "_event_loop" in self.__dict__:
            self._event_loop.call_soon_threadsafe(self._event_loop.stop)

    def _work(self) -> None:
        while (execution := self._inbox.get()) is not None:
            self._on_end(execution, execution.run())

    async def _await(self, execution: Execution) -> None:
        self._on_end(execution, await execution.arun())

    @cached_property
    def _event_loop(self) -> asyncio.AbstractEventLoop:
        runner = asyncio.Runner()
        loop = runner.get_loop()

        def serve() -> None:
            with runner:
                loop.run_forever()

        threading.Thread(target=serve, name="bgtasks-async", daemon=True).start()
        return loop
