"""How long to wait before looking for work again."""

from __future__ import annotations

from collections.abc import Callable

#: Seconds after the last job was found in which new ones may come without a call: who
#: enqueues many calls only once in a while.
QUICK_WINDOW = 0.06


class Patience:
    """Short pauses while there is work about, and ever longer ones when there is none.

    Args:
        shortest: the pause in seconds while there was work just now.
        longest: the pause that it grows to.
        monotonic: seconds from a clock that is never set.
    """

    def __init__(
        self, shortest: float, longest: float, monotonic: Callable[[], float]
    ) -> None:
        self._shortest = min(shortest, longest)
        self._longest = longest
        self._monotonic = monotonic
        self._quick_until = 0.0
        self._pause = longest

    def renew(self) -> None:
        """There was work, or somebody called."""
        self._quick_until = self._monotonic() + QUICK_WINDOW
        self._pause = self._shortest

    def wear(self) -> None:
        """There was nothing to do."""
        if self._monotonic() >= self._quick_until:
            self._pause = min(self._pause * 2, self._longest)

    @property
    def pause(self) -> float:
        """Seconds to wait now."""
        return self._pause
