"""Progress reports, thinned out on their way to the row."""

from __future__ import annotations

import time
from collections.abc import Callable

from django_bgtasks.context import Progress
from django_bgtasks.models import Job
from django_bgtasks.store import lifecycle

#: Seconds between two writes.
INTERVAL = 0.5


class ProgressReporter:
    """Writes a job's progress now and then, and always its completion."""

    def __init__(
        self, job: Job, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._job = job
        self._monotonic = monotonic
        self._written_at: float | None = None

    def report(self, progress: Progress) -> None:
        """Take a report; write it if the last write was long enough ago."""
        now = self._monotonic()
        recent = self._written_at is not None and now - self._written_at < INTERVAL
        if recent and progress["done"] != progress["total"]:
            return
        self._written_at = now
        lifecycle.report_progress(self._job, progress)
