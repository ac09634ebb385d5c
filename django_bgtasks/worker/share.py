"""How much a worker takes on before it makes room for another one."""

from __future__ import annotations

from collections.abc import Callable

from django_bgtasks.signals import logger
from django_bgtasks.worker.memory import resident_bytes
from django_bgtasks.worker.options import WorkerOptions
from django_bgtasks.worker.timer import Timer

MEMORY_CHECK_INTERVAL = 1.0


class Share:
    """Counts jobs, and looks at the memory, against the limits of ``options``."""

    def __init__(self, options: WorkerOptions, monotonic: Callable[[], float]) -> None:
        self._jobs_left = options.max_jobs
        self._max_memory = options.max_memory
        self._memory_check = Timer(MEMORY_CHECK_INTERVAL, monotonic)
        self._is_too_large = False

    @property
    def is_done(self) -> bool:
        """Whether it has taken on enough."""
        return self._is_too_large or self._jobs_left == 0

    def of(self, room: int) -> int:
        """How many jobs it may take on, if there is room for so many."""
        if self._is_too_large:
            return 0
        return room if self._jobs_left is None else min(room, self._jobs_left)

    def take(self, jobs: int) -> None:
        """It has taken on so many jobs; or, below 0, handed back."""
        if self._jobs_left is not None:
            self._jobs_left -= jobs

    def look_at_memory(self) -> None:
        """Find out whether the process has become too large, if it is time."""
        if self._max_memory is None or not self._memory_check.is_due():
            return
        taken = resident_bytes()
        if taken > self._max_memory and not self._is_too_large:
            self._is_too_large = True
            logger.info(
                "This worker takes %s MB of memory; it makes room for another one when "
                "its jobs have ended",
                taken >> 20,
            )
