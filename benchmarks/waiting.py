"""Waiting for what goes on as long as it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds without any change after which all is lost.
PATIENCE = 30.0


def comes_to(
    goal: int,
    look: Callable[[], int],
    *,
    pause: float,
    hopeless: Callable[[], bool] = lambda: False,
) -> bool:
    """Wait until ``look()`` is at least ``goal``; False if it no longer grows.

    Args:
        pause: seconds between two looks.
        hopeless: says that there is nothing more to wait for.
    """
    most, lost_after = look(), time.monotonic() + PATIENCE
    while most < goal:
        if hopeless() or time.monotonic() > lost_after:
            return False
        time.sleep(pause)  # noqa: TID251 (files and tables do not call)
        now = look()
        if now > most:
            most, lost_after = now, time.monotonic() + PATIENCE
    return True
