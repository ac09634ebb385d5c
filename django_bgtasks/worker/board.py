"""What a worker's threads are at, where its supervisor can see it.

In memory that both processes share: it can be read when the worker has died, and while
a task holds the GIL. Times are those of the monotonic clock, which is the host's.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import Any, NamedTuple, cast
from uuid import UUID

from django_bgtasks.exceptions import CancelRequested, Interrupt, TimeLimitExceeded

#: When the loop last came by.
_PULSE = struct.Struct("=d")
#: What a thread runs, and when that must have ended.
_RUN = struct.Struct("=16sd")
#: A run that somebody has cancelled, and when that must have ended. Written by the
#: loop, while the thread may go on to its next job: so it names the job, too.
_CANCELLED = struct.Struct("=16sd")
_SLOT_SIZE = _RUN.size + _CANCELLED.size

_NOBODY = bytes(16)
_NEVER = float("inf")


class Run(NamedTuple):
    """A job that a thread has begun and not ended.

    Args:
        job_id: its id.
        deadline: when it must have ended.
        reason: why, if it has not.
    """

    job_id: UUID
    deadline: float
    reason: type[Interrupt]


def board_size(threads: int) -> int:
    """Bytes of memory that a board for so many threads takes."""
    return _PULSE.size + _SLOT_SIZE * threads


class Board:
    """A slot for each thread of a worker, and the pulse of its loop.

    Args:
        memory: a writable buffer of ``board_size`` bytes.
    """

    def __init__(self, memory: Any) -> None:
        self._memory = memoryview(memory)
        self._places = range(_PULSE.size, len(self._memory), _SLOT_SIZE)

    def beat(self, monotonic: float) -> None:
        """The loop came by."""
        _PULSE.pack_into(self._memory, 0, monotonic)

    @property
    def pulse(self) -> float:
        """When the loop last came by."""
        (monotonic,) = _PULSE.unpack_from(self._memory, 0)
        return cast("float", monotonic)

    def begin(self, slot: int, job_id: UUID, deadline: float = _NEVER) -> None:
        """The thread of ``slot`` begins a job."""
        _RUN.pack_into(self._memory, self._places[slot], job_id.bytes, deadline)

    def clear(self, slot: int) -> None:
        """The thread of ``slot`` has nothing to do."""
        _RUN.pack_into(self._memory, self._places[slot], _NOBODY, _NEVER)

    def cancel(self, slot: int, job_id: UUID, deadline: float) -> None:
        """The job that ``slot`` began must have ended at ``deadline``."""
        place = self._places[slot] + _RUN.size
        _CANCELLED.pack_into(self._memory, place, job_id.bytes, deadline)

    def cancel_all(self, jobs: Collection[UUID], deadline: float) -> None:
        """The same for whoever runs one of ``jobs``."""
        for slot, run in enumerate(self._slots()):
            if run is not None and run.job_id in jobs:
                self.cancel(slot, run.job_id, min(run.deadline, deadline))

    def runs(self) -> list[Run]:
        """What the threads are at."""
        return [run for run in self._slots() if run is not None]

    def _slots(self) -> list[Run | None]:
        return [self._run_at(place) for place in self._places]

    def wipe(self) -> None:
        """Forget all, for the next worker."""
        struct.pack_into(f"{len(self._memory)}x", self._memory, 0)

    def _run_at(self, place: int) -> Run | None:
        key, deadline = _RUN.unpack_from(self._memory, place)
        if key == _NOBODY:
            return None
        cancelled, sooner = _CANCELLED.unpack_from(self._memory, place + _RUN.size)
        if key == cancelled and sooner < deadline:
            return Run(UUID(bytes=key), sooner, CancelRequested)
        return Run(UUID(bytes=key), deadline, TimeLimitExceeded)
