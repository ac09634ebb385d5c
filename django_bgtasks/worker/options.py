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
        max_jobs: make room for a successor after so many jobs; None: no limit.
        max_memory: and when the process takes more bytes of memory than this.
        isolated: run nothing but the jobs that are this worker's already, one at a
            time.
        schedules: also enqueue periodic jobs when they are due.
        quiet: begin as one that was told to be quiet.
    """

    queues: Sequence[str] = ()
    threads: int = 1
    drain: bool = False
    max_jobs: int | None = None
    max_memory: int | None = None
    isolated: bool = False
    schedules: bool = False
    quiet: bool = False
