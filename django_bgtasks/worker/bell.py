"""Waking a loop that waits."""

from __future__ import annotations

import selectors
import socket


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

    def ring(self) -> None:
        """End the wait, or the next one; cheap if it was rung already."""
        if not self._rung:
            self._rung = True
            self._writer.send(b"\0")

    def wait(self, seconds: float, also: int | None = None) -> bool:
        """Wait until it rings, or until there is something to read on ``also``.

        Args:
            seconds: the longest to wait.
            also: a file descriptor.

        Returns:
            Whether it rang.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self.reader, selectors.EVENT_READ)
            if also is not None:
                selector.register(also, selectors.EVENT_READ)
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
        self.reader.close()
        self._writer.close()
