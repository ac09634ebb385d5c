"""Waking a loop that waits."""

from __future__ import annotations

import selectors
import socket
from contextlib import suppress


class Bell:
    """Rung from any thread or signal handler, it ends the wait of the loop.

    A socket rather than a lock, so that the loop can wait at the same time for what
    a database has to say.
    """

    def __init__(self) -> None:
        #: Becomes readable when it rings, for those who wait for more than that.
        self.reader, self._writer = socket.socketpair()
        self.reader.setblocking(False)
        self._rung = False
        self._alone = self._selector(None)
        self._with_other = self._selector(None)

    def ring(self) -> None:
        """End the wait, or the next one; cheap if it was rung already."""
        if not self._rung:
            self._rung = True
            with suppress(OSError):  # it was closed meanwhile
                self._writer.send(b"\0")

    def attach(self, fileno: int | None) -> None:
        """From now on, ``wait`` can also wait for something to read on ``fileno``."""
        self._with_other.close()
        self._with_other = self._selector(fileno)

    def wait(self, seconds: float, *, attached: bool = False) -> bool:
        """Wait until it rings.

        Args:
            seconds: the longest to wait.
            attached: whether to wait for what is attached, too.

        Returns:
            Whether it rang.
        """
        selector = self._with_other if attached else self._alone
        ready = selector.select(max(seconds, 0))
        rang = any(key.fileobj is self.reader for key, _ in ready)
        if rang:
            self.reader.recv(64)
            # Only now: who found it still rung has done before what the loop is to
            # see after.
            self._rung = False
        return rang

    def close(self) -> None:
        """Give back the sockets; to ring is of no effect from now on."""
        self._rung = True
        self._alone.close()
        self._with_other.close()
        self.reader.close()
        self._writer.close()

    def _selector(self, fileno: int | None) -> selectors.BaseSelector:
        selector = selectors.DefaultSelector()
        selector.register(self.reader, selectors.EVENT_READ)
        if fileno is not None:
            selector.register(fileno, selectors.EVENT_READ)
        return selector
