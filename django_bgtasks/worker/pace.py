"""How many jobs to claim ahead."""

from __future__ import annotations

#: Seconds of work that may wait in a worker's memory for a thread. Enough to hide the
#: way to the database from short jobs; and long jobs are left to other workers.
HORIZON = 0.05
#: More than these hide nothing more.
LIMIT = 1000
#: Jobs over which the mean is taken.
MEMORY = 8


class Pace:
    """Follows how long jobs take, and says how many more than run may be claimed.

    Args:
        threads: jobs that run at the same time.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._mean: float | None = None

    def note(self, jobs: int, seconds: float) -> None:
        """Take into account ``jobs`` that ended and ran for ``seconds`` in all."""
        if self._mean is None:
            self._mean = seconds / jobs
        else:
            weight = min(1.0, jobs / MEMORY)
            self._mean += (seconds / jobs - self._mean) * weight

    @property
    def prefetch(self) -> int:
        """Jobs that the threads will get through within the horizon."""
        if self._mean is None:
            return 0
        ahead = self._threads * HORIZON
        return int(ahead / self._mean) if self._mean * LIMIT > ahead else LIMIT
