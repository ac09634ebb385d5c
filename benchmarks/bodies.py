"""What the measured jobs do: the same few lines in every system.

Each proves that it ran: it appends to a file that all processes share. A row that only
says so is no proof.
"""

from __future__ import annotations

import os
import struct
import time
from functools import lru_cache

#: One job's mark in the proof file.
MARK = b"."
#: When a job was sent and when its first line ran, by time.time_ns().
STAMP = struct.Struct("<qq")


@lru_cache(maxsize=1)
def _proof() -> int:
    # Appending is atomic for so few bytes, whoever else appends.
    return os.open(os.environ["BENCH_PROOF"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def noop() -> None:
    """Nothing at all: what is left is the queue's own cost."""
    os.write(_proof(), MARK)


def nap() -> None:
    """Wait for 10 ms, as for somebody else's server."""
    time.sleep(0.01)  # noqa: TID251 (this is what the job does)
    os.write(_proof(), MARK)


def crunch() -> None:
    """Some milliseconds of arithmetic in pure Python."""
    sum(number * number for number in range(50_000))
    os.write(_proof(), MARK)


def stamp(sent: int) -> None:
    """Write down the time between two processes. ``sent``: time.time_ns() before."""
    started = time.time_ns()
    os.write(_proof(), STAMP.pack(sent, started))


def echo(value: int) -> int:
    """Give back what came, for those who wait for it."""
    os.write(_proof(), MARK)
    return value


#: All of them, for systems that make tasks of functions.
BODIES = {body.__name__: body for body in (noop, nap, crunch, stamp, echo)}
