"""Raising an exception inside a thread that is busy with somebody else's code."""

from __future__ import annotations

import ctypes
import threading
from types import TracebackType

from django_bgtasks.exceptions import Interrupt


class Interruptible:
    """A stretch of code in which its thread may be interrupted from another one.

    The exception arrives between two steps of Python: at once in Python code, after
    the call returns in code that waits inside C (a query, ``time.sleep``).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._is_sent = False

    def __enter__(self) -> None:
        with self._lock:
            self._thread = threading.get_ident()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            thread, self._thread = self._thread, None
            if self._is_sent and thread is not None:
                # One that was sent but has not arrived must not hit what follows.
                _raise_in(thread, None)

    def interrupt(self, reason: type[Interrupt]) -> None:
        """Raise ``reason`` inside, if the thread is inside."""
        with self._lock:
            if self._thread is not None:
                self._is_sent = True
                _raise_in(self._thread, reason)


def _raise_in(thread: int, reason: type[Interrupt] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread),
        ctypes.py_object() if reason is None else ctypes.py_object(reason),
    )
