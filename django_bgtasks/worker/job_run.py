"""What a task's context can ask of the attempt, and have written into the job's row."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django_bgtasks.context import Progress, Run
from django_bgtasks.models import Job
from django_bgtasks.store import lifecycle

#: Seconds between two writes of progress.
INTERVAL = 0.5


class JobRun(Run):
    """The attempt that a worker makes of a job.

    Args:
        job: as it was claimed.
        ask: whether somebody has cancelled it.
        deadline: when its time limit is over.
        monotonic: seconds from a clock that is never set.
    """

    def __init__(
        self,
        job: Job,
        ask: Callable[[], bool] = lambda: False,
        deadline: datetime | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__({}, job.max_attempts, job.scheduled_for)
        self.deadline = deadline
        self._job = job
        self._ask = ask
        self._monotonic = monotonic
        self._written_at: float | None = None

    @property
    def metadata(self) -> dict[str, Any]:
        # Fetched when it is asked for, which it is of few jobs.
        return self._job.metadata or {}

    def is_cancelled(self) -> bool:
        return self._ask()

    def report(self, progress: Progress) -> None:
        """Take a report; write it if the last write was long enough ago."""
        now = self._monotonic()
        recent = self._written_at is not None and now - self._written_at < INTERVAL
        if recent and progress["done"] != progress["total"]:
            return
        self._written_at = now
        lifecycle.write_running(self._job, progress=progress)

    def note(self, metadata: dict[str, Any]) -> None:
        lifecycle.write_running(self._job, metadata=metadata)
        self._job.metadata = metadata
