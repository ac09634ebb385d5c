"""Something to be done now and then."""

from __future__ import annotations

from collections.abc import Callable


class Timer:
    """Says when ``interval`` seconds have passed since it last said so."""

    def __init__(
        self,
        interval: float,
        monotonic: Callable[[], float],
        *,
        rest_first: bool = False,
    ) -> None:
        self._interval = interval
        self._monotonic = monotonic
        self._due_at = monotonic() + (interval if rest_first else 0)

    def is_due(self) -> bool:
        """Whether it is time; if so, the next time is an interval from now."""
        now = self._monotonic()
        if now < self._due_at:
            return False
        self._due_at = now + self._interval
        return True

    def rest_again(self) -> None:
        """Let a whole interval pass from now on."""
        self._due_at = self._monotonic() + self._interval

    @property
    def rest(self) -> float:
        """Seconds until it is time; below 0 if it is."""
        return self._due_at - self._monotonic()

    def make_due_in(self, seconds: float) -> None:
        """Let it be time in ``seconds``, if it would be later."""
        self._due_at = min(self._due_at, self._monotonic() + seconds)
