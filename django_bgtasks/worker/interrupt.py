"""Raising an exception inside a thread that is busy with somebody else's code."""

from __future__ import annotations

import ctypes
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from django_bgtasks.exceptions import Interrupt
from django_bgtasks.signals import logger
from django_bgtasks.store.engines import engine_of

#: Seconds between two tries to cancel a query.
INSIST_INTERVAL = 0.5

#: What cancels queries, by the thread that has opened the connection: nobody else
#: finds a thread's connections.
_cancellers: defaultdict[
    int, WeakKeyDictionary[BaseDatabaseWrapper, Callable[[], None]]
] = defaultdict(WeakKeyDictionary)


class Interruptible:
    """A stretch of code in which its thread may be interrupted from another one.

    The exception arrives between two steps of Python: at once in Python code; in a
    query as soon as that is cancelled; in other code that waits inside C, such as
    ``time.sleep``, when the call returns.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._is_sent = False
        self._has_arrived = False
        self._insisted_at = 0.0

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
        # The thread stays inside meanwhile: what hits a query must not hit the next.
        with self._lock:
            if self._thread is not None:
                self._is_sent = True
                self._insisted_at = time.monotonic()
                # First the query. An exception that arrives while the driver waits
                # for the answer would leave the connection in the middle of it.
                _cancel_queries(self._thread)
                _raise_in(self._thread, self._noting_arrival(reason))

    def insist(self) -> None:
        """Cancel queries again, as long as the exception has not arrived.

        The thread may have been about to send one when it was interrupted. Once the
        exception is there, its queries are those of ``finally``, and left alone.
        """
        with self._lock:
            is_due = time.monotonic() - self._insisted_at >= INSIST_INTERVAL
            if self._thread is None or self._has_arrived or not is_due:
                return
            self._insisted_at = time.monotonic()
            _cancel_queries(self._thread)

    def _noting_arrival(self, reason: type[Interrupt]) -> type[Interrupt]:
        """``reason``, to all who look at it, which tells when it is raised."""

        def note(error: Interrupt) -> None:
            self._has_arrived = True
            reason.__init__(error)

        names = ("__module__", "__qualname__", "__doc__")
        attributes = {name: getattr(reason, name) for name in names}
        return type(reason.__name__, (reason,), {**attributes, "__init__": note})


def _cancel_queries(thread: int) -> None:
    for connection, cancel in tuple(_cancellers[thread].items()):
        if connection.connection is not None:
            try:
                cancel()
            except Exception:  # noqa: BLE001 (a driver's, too; the exception is still to be sent)
                logger.exception(
                    "What runs on the database %r cannot be cancelled", connection.alias
                )


def _raise_in(thread: int, reason: type[Interrupt] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread),
        ctypes.py_object() if reason is None else ctypes.py_object(reason),
    )


def _note_connection(*, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    canceller = engine_of(connection).query_canceller()
    _cancellers[threading.get_ident()][connection] = canceller


connection_created.connect(_note_connection)
