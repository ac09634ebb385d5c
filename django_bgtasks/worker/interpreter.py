"""The interpreter's own settings, in a process that only runs jobs."""

from __future__ import annotations

import gc
import sys

#: New objects after which Python looks for garbage among them. By its default of some
#: hundreds, a worker at full speed looks a thousand times a second, and finds none.
GARBAGE_THRESHOLD = 50_000
#: Python's own, until 3.12 and from then on.
DEFAULT_THRESHOLDS = (700, 2000)

#: Seconds that the loop waits at the most, each time that the database has answered,
#: for the GIL that a computing task holds.
SWITCH_INTERVAL = 0.001
DEFAULT_SWITCH_INTERVAL = 0.005


def tune_interpreter() -> None:
    """Look for garbage less often, and take turns more often.

    What is loaded by now stays. Not to look at it for garbage spares time, and in
    processes that are forked later also memory: a look writes to all that it looks at,
    and so makes copies of what they share. What the project has set is left alone.
    """
    gc.collect()
    gc.freeze()
    youngest, *older = gc.get_threshold()
    if youngest in DEFAULT_THRESHOLDS:
        gc.set_threshold(GARBAGE_THRESHOLD, *older)
    if sys.getswitchinterval() == DEFAULT_SWITCH_INTERVAL:
        sys.setswitchinterval(SWITCH_INTERVAL)
