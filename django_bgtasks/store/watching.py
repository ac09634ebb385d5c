"""Hearing of the ends of jobs that this process waits for.

One thread with a connection of its own serves all who wait, in threads and on event
loops. It is there only as long as somebody waits. Workers are told which jobs are
awaited, and call when one of them has ended: a call for every job that ends would cost
more than the jobs.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable

from django.db import DatabaseError, InterfaceError, connections

from django_bgtasks.bell import Bell
from django_bgtasks.signals import logger
from django_bgtasks.store.engines import Engine, engine_of
from django_bgtasks.store.engines.base import Listener

#: Seconds until workers are told again, for some may have started since. Each of them
#: remembers for several times as long.
REMINDER_INTERVAL = 2.0

#: Seconds between two looks at the rows, for ends of which no worker has called: the
#: shortest after somebody has joined, for a worker may just have missed that.
SHORTEST_PAUSE = 0.02
LONGEST_PAUSE = 0.5

#: A pause between looks is that part of the time that somebody has waited: so much
#: longer than the job it takes at the most to learn of its end.
SHARE = 1 / 8

#: Seconds that the connection takes to close, and more, if all is well.
CLOSING_TIME = 0.2

Wake = Callable[[], None]

_lock = threading.Lock()
_watches: dict[str, Watch] = {}
_inherited: list[dict[str, Watch]] = []


def pause_after(waited: float, shortest: float, longest: float) -> float:
    """Seconds until the next look, for who has waited for so many already."""
    return min(max(waited * SHARE, shortest), longest)


def join(alias: str, job_id: str, wake: Wake) -> Watch:
    """Have ``wake`` called when the job has ended, or may have, until it leaves.

    Args:
        alias: the database that holds the job.
        job_id: in hexadecimal digits.
        wake: called in another thread; returns at once.
    """
    with _lock:
        watch = _watches.get(alias)
        if watch is None:
            watch = Watch(alias)
            watch.start()
            # Only now, for there may be too many threads already.
            _watches[alias] = watch
        watch.add(job_id, wake)
        return watch


class Watch:
    """The thread, from the first one who waits to the last.

    Args:
        alias: the database that it listens to.
    """

    def __init__(self, alias: str) -> None:
        #: Whether it hears nothing any more, by its own fault or since nobody is left.
        self.is_over = False
        self._alias = alias
        self._wakes: dict[str, list[Wake]] = {}
        #: Awaited jobs of which no worker has been told.
        self._fresh: set[str] = set()
        self._bell = Bell()
        self._thread = threading.Thread(
            target=self._run, name="bgtasks-watch", daemon=True
        )
        self._joined_at = self._look_at = self._remind_at = 0.0

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def add(self, job_id: str, wake: Wake) -> None:
        """As ``join``, which holds the lock."""
        self._wakes.setdefault(job_id, []).append(wake)
        self._fresh.add(job_id)
        self._bell.ring()

    def leave(self, job_id: str, wake: Wake) -> None:
        """Undo ``join``. With the last one, the connection is closed."""
        with _lock:
            wakes = self._wakes[job_id]
            wakes.remove(wake)
            if wakes:
                return
            del self._wakes[job_id]
            self._fresh.discard(job_id)
            if self._wakes:
                return
            self._end()
        self._bell.ring()

    def wait_until_closed(self) -> None:
        """If the last one has left: until nothing of it is there any more.

        Not for long: while it waits for the server, it closes when that has answered.
        """
        if self.is_over:
            self._thread.join(CLOSING_TIME)

    def _end(self) -> None:
        """Let the next one begin anew, with another watch."""
        self.is_over = True
        if _watches.get(self._alias) is self:
            del _watches[self._alias]

    def _run(self) -> None:
        connection = connections.create_connection(self._alias)
        try:
            engine = engine_of(connection)
            engine.prepare()
            listener = engine.end_listener()
            self._bell.attach(listener.fileno)
            while not self.is_over:
                self._go_round(engine, listener)
        except (DatabaseError, InterfaceError):
            logger.warning(
                "Who waits for a job has to look for its end from now on, for the "
                "connection that would have told of it is lost",
                exc_info=True,
            )
        finally:
            connection.close()
            self._bell.close()
            with _lock:
                self._end()
                self._wake(self._wakes)

    def _go_round(self, engine: Engine, listener: Listener) -> None:
        with _lock:
            awaited = set(self._wakes)
            fresh, self._fresh = self._fresh, set()
        now = time.monotonic()
        if fresh:
            self._joined_at = self._look_at = now
        # Before the look: what ends after it is called for.
        self._remind(engine, awaited, fresh, now)
        if awaited and now >= self._look_at:
            self._tell(awaited - engine.unfinished(awaited))
            self._look_at = time.monotonic() + pause_after(
                now - self._joined_at, SHORTEST_PAUSE, LONGEST_PAUSE
            )
        until = min(self._look_at, self._remind_at)
        self._bell.wait(until - time.monotonic(), attached=True)
        self._tell(job_id for ids in listener.heard() or () for job_id in ids.split())

    def _remind(
        self, engine: Engine, awaited: set[str], fresh: set[str], now: float
    ) -> None:
        if now >= self._remind_at:
            fresh = awaited
            self._remind_at = now + REMINDER_INTERVAL
        if fresh:
            engine.call_for_ends(fresh)

    def _tell(self, ended: Iterable[str]) -> None:
        with _lock:
            self._wake(ended)

    def _wake(self, jobs: Iterable[str]) -> None:
        # Under the lock: who has left is not called any more.
        for job_id in jobs:
            for wake in self._wakes.get(job_id, ()):
                wake()


def _begin_anew() -> None:
    """In a process that was forked: the thread is its parent's, and so are sockets."""
    global _lock, _watches  # noqa: PLW0603 (there is one of each in a process)
    _lock = threading.Lock()
    # Kept, for they are not to be closed here.
    _inherited.append(_watches)
    _watches = {}


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
