"""The event loop that ``async def`` tasks share."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import SyncToAsync, ThreadSensitiveContext

P = ParamSpec("P")
T = TypeVar("T")


class EventLoop:
    """An event loop in a thread of its own, which starts with its first coroutine."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(
        self,
        coroutine: Coroutine[Any, Any, T],
        guard: AbstractContextManager[None] | None = None,
    ) -> T:
        """Await ``coroutine`` there; the calling thread is at its service meanwhile.

        What it calls by ``sync_to_async``, and so the ORM, runs in the calling thread:
        on connections that nobody else uses, and that can be left clean.

        Args:
            guard: to be within while such a call runs.
        """
        calls = _Calls()
        future = asyncio.run_coroutine_threadsafe(
            _awaited_with(calls, coroutine), self._started()
        )
        future.add_done_callback(calls.close)
        with _loops_remembered():
            calls.serve(guard or nullcontext())
        return future.result()

    def close(self) -> None:
        """Let the thread end, whatever still runs on it."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                runner = asyncio.Runner()
                self._loop = runner.get_loop()
                threading.Thread(
                    target=_serve, args=(runner,), name="bgtasks-async", daemon=True
                ).start()
            return self._loop


@contextmanager
def _loops_remembered() -> Iterator[None]:
    """Let this thread not take this event loop for its own afterwards.

    asgiref notes for each thread on whose behalf it last ran something there, and what
    ``async_to_sync`` is given then goes to that loop, even if it is about to stop.
    """
    noted = vars(SyncToAsync.threadlocal)
    before = dict(noted)
    try:
        yield
    finally:
        noted.clear()
        noted.update(before)


class _Calls(Executor):
    """Calls from the event loop to a thread that waits for them."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._guard: AbstractContextManager[None] = nullcontext()
        self._is_closed = False

    def submit(
        self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        if self._is_closed:
            raise RuntimeError(
                "The job is over, and its thread is at the service of another one; "
                "await what uses the database."
            )
        future: Future[T] = Future()
        self._calls.put(partial(self._call, future, partial(function, *args, **kwargs)))
        return future

    def serve(self, guard: AbstractContextManager[None]) -> None:
        """Run what is submitted, in this thread, until ``close``."""
        self._guard = guard
        while (call := self._calls.get()) is not None:
            call()

    def close(self, *unused: object) -> None:
        """Nobody waits for answers any more."""
        self._is_closed = True
        self._calls.put(None)

    def _call(self, future: Future[T], function: Callable[[], T]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            with self._guard:
                value = function()
        except BaseException as error:  # noqa: BLE001 (for the coroutine that awaits it)
            future.set_exception(error)
        else:
            future.set_result(value)


async def _awaited_with(calls: Executor, coroutine: Coroutine[Any, Any, T]) -> T:
    # As in Django's ASGI handler, where each request has such a context, but with a
    # thread that is there already.
    context = ThreadSensitiveContext()
    SyncToAsync.context_to_thread_executor[context] = calls
    SyncToAsync.thread_sensitive_context.set(context)
    return await coroutine


def _serve(runner: asyncio.Runner) -> None:
    with runner:
        runner.get_loop().run_forever()
