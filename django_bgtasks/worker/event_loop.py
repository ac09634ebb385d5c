"""The event loop that ``async def`` tasks share."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class EventLoop:
    """An event loop in a thread of its own, which starts with its first coroutine."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await ``coroutine`` there; blocks the calling thread meanwhile."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._started()).result()

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


def _serve(runner: asyncio.Runner) -> None:
    with runner:
        runner.get_loop().run_forever()
