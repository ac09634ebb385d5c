"""Garbage collection in a process that makes and forgets jobs all the time."""

from __future__ import annotations

import gc

#: New objects after which Python looks for garbage among them. By its default of some
#: hundreds, a worker at full speed looks a thousand times a second, and finds none.
THRESHOLD = 50_000
#: Python's own, until 3.12 and from then on.
DEFAULTS = (700, 2000)


def ease_garbage_collection() -> None:
    """Look at what is loaded no more, and at what is new less often.

    What is loaded by now stays. Not to look at it spares time, and in processes that
    are forked later also memory: a look writes to all that it looks at, and so makes
    copies of what they share. A threshold that the project has set is left alone.
    """
    gc.collect()
    gc.freeze()
    youngest, *older = gc.get_threshold()
    if youngest in DEFAULTS:
        gc.set_threshold(THRESHOLD, *older)
