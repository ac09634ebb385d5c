"""What a worker shall do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """What a worker shall do.

    Args:
        queues: names of the queues to work on; empty for all.
        threads: jobs to run at the same time.
        drain: end when nothing is due.
        max_jobs: end after so many jobs; None: no limit.
    """

    queues: Sequence[str] = ()
    threads: int = 1
    drain: bool = False
    max_jobs: int | None = None

    @property
    def ends_by_itself(self) -> bool:
        """Whether the worker is to end when its work is done."""
        return self.drain or self.max_jobs is not None
