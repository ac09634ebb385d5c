"""Standard output and error, which all tasks share, kept for all of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def kept_open() -> Iterator[None]:
    """Whoever closes one of the streams only flushes it meanwhile.

    A closed one makes every print fail, and every line that is logged there.
    """
    streams = {stream for stream in (sys.stdout, sys.stderr) if stream is not None}
    for stream in streams:
        stream.close = stream.flush  # type: ignore[method-assign]  # on purpose
    try:
        yield
    finally:
        for stream in streams:
            del stream.close


def plug_gaps() -> None:
    """Let standard files that were closed by number be of nobody else.

    The next socket gets the number, and what is printed then goes to the database.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            plug = os.open(os.devnull, os.O_RDWR)
            if plug != number:
                # Somebody was faster.
                os.close(plug)
            else:
                os.set_inheritable(number, True)


def flush() -> None:
    """Write what is buffered, as far as it can be."""
    plug_gaps()
    for stream in (sys.stdout, sys.stderr):
        # Whatever a task has done to it.
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()
