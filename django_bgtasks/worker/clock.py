"""The database's time, without asking it each time."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from django_bgtasks import timing


class Clock:
    """Tells the time of the database, whatever this host's own clock says.

    Args:
        source: asks the database for its time.
        monotonic: seconds from a clock that is never set.
    """

    def __init__(
        self,
        source: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self.monotonic = monotonic

    def sync(self) -> None:
        """Ask. To be done first, and now and then, for no two clocks run alike."""
        answer = self._source()
        # In one piece, for other threads tell the time meanwhile.
        self._known = answer, self.monotonic()
        # What tasks enqueue here is due by the same clock.
        timing.learn(answer)

    def now(self) -> datetime:
        """The database's time, as of now."""
        answer, since = self._known
        return answer + timedelta(seconds=self.monotonic() - since)
