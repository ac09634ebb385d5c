"""How a worker's loop waits, and what ends the wait."""

from __future__ import annotations

import time

from django.db import DatabaseError, InterfaceError

from django_bgtasks.bell import Bell
from django_bgtasks.store import wakeup
from django_bgtasks.store.engines import Engine
from django_bgtasks.store.engines.base import Listener


class Ears:
    """Listens to this process (the bell) and to the database at the same time."""

    def __init__(self) -> None:
        self._bell = Bell()
        self._listener = Listener()
        self._names: set[str] = set()
        self._is_called = False

    def open(self, engine: Engine) -> None:
        """Listen to the database, too, on the connection of ``engine``."""
        self._bell.attach(None)
        self._listener.close()
        self._listener = Listener()
        self._listener = engine.listener()
        self._bell.attach(self._listener.fileno)

    def ring(self) -> None:
        """End the wait, or the next one. Safe in signal handlers and threads."""
        self._bell.ring()

    def call(self) -> None:
        """Say, from any thread, that this process has committed new work."""
        self._is_called = True
        self._bell.ring()

    def wait(self, seconds: float) -> None:
        """Wait for a ring alone."""
        self._bell.wait(seconds)

    def listen(self, seconds: float) -> None:
        """Wait for a ring, a call, or what the database says."""
        until = time.monotonic() + seconds
        while not self._hears_something():
            rest = until - time.monotonic()
            pause = min(rest, self._listener.interval or rest)
            if rest <= 0 or self._bell.wait(pause, attached=True):
                return

    def take_call(self) -> set[str] | None:
        """Whether there was a call since the last question.

        Returns:
            The queues that were called for, as far as they were named; None if there
            was no call.
        """
        if not self._is_called:
            return None
        self._is_called = False
        names, self._names = self._names, set()
        return names

    def awaited(self) -> set[str]:
        """Ids of jobs for whose end somebody has begun to wait since the last question."""
        return self._listener.awaited()

    def __enter__(self) -> None:
        wakeup.listen_here(self.call)

    def __exit__(self, *unused: object) -> None:
        wakeup.stop_listening(self.call)
        self._bell.close()
        self._listener.close()

    def _hears_something(self) -> bool:
        try:
            names = self._listener.heard()
        except (DatabaseError, InterfaceError):
            # The next query will meet the same, and there it is dealt with.
            return True
        if names is None:
            return False
        self._is_called = True
        self._names.update(name for name in names if name)
        return True
