"""What a command says while it works for long, and how Ctrl-C ends it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from django.core.management.base import OutputWrapper

#: Seconds between two lines where they cannot be written over each other.
LINE_INTERVAL = 10


class Progress:
    """Says now and then how far it is: on one line of a terminal, else line by line.

    Args:
        stream: where to; the command's ``stderr``.
        verbosity: the command's option: 0 says nothing.
        monotonic: seconds from a clock that is never set.
    """

    def __init__(
        self,
        stream: OutputWrapper,
        verbosity: int = 1,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._is_silent = verbosity == 0
        self._monotonic = monotonic
        self._said_at = monotonic()
        self._width = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave an empty line behind."""
        if self._width:
            self._write(f"\r{' ' * self._width}\r")

    def show(self, text: str) -> None:
        """Say ``text``, if it is time to."""
        if self._is_silent:
            return
        if self._stream.isatty():
            self._write("\r" + text.ljust(self._width))
            self._width = len(text)
        elif self._monotonic() - self._said_at >= LINE_INTERVAL:
            self._said_at = self._monotonic()
            self._write(f"{text}\n")

    def _write(self, text: str) -> None:
        # Not in the colour of errors.
        self._stream.write(text, style_func=str, ending="")
        self._stream.flush()


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C end the work between two steps; a second one ends it at once.

    Gives a function that says whether somebody wants that.
    """
    interrupted = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, before)

    if threading.current_thread() is not threading.main_thread():
        # Only there are signals heard of.
        yield interrupted.is_set
        return
    before = signal.signal(signal.SIGINT, note) or signal.SIG_DFL
    try:
        yield interrupted.is_set
    finally:
        signal.signal(signal.SIGINT, before)
