"""Being told by the kernel that a file was written to, where it can tell: on Linux."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

# As in <sys/inotify.h>, see inotify(7).
_MODIFIED = 0x00000002


class CannotWatch(OSError):
    """This system tells nobody of what is written, or not of this file."""


class FileWatch:
    """A file descriptor that becomes readable when somebody writes to one file.

    Only what is written on this machine is told, and not what is written through
    memory maps.

    Args:
        path: of the file, which is there.

    Raises:
        CannotWatch: there is no such file, or no inotify here.
    """

    def __init__(self, path: str) -> None:
        if sys.platform != "linux":
            raise CannotWatch("Only Linux has inotify.")
        libc = ctypes.CDLL(None, use_errno=True)
        self.fileno: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fileno < 0:
            raise CannotWatch(ctypes.get_errno(), "Cannot begin to watch files.")
        if libc.inotify_add_watch(self.fileno, os.fsencode(path), _MODIFIED) < 0:
            error = ctypes.get_errno()
            self.close()
            raise CannotWatch(error, f"Cannot watch {path}.")

    def has_news(self) -> bool:
        """Whether there was a write since the last question. Does not wait."""
        # The kernel joins like events that nobody has read: there is one, or few.
        with suppress(BlockingIOError):
            return bool(os.read(self.fileno, 4096))
        return False

    def close(self) -> None:
        os.close(self.fileno)
