"""How hard a run is, and which one it is."""

import os
import random

#: The long form is for ``make chaos``, the short one for every change.
LONG = os.environ.get("CHAOS") == "long"

#: Reproduces a run, as far as the choices of the suite go. In the environment, so that
#: the processes of pytest-xdist have the same.
SEED = os.environ.setdefault("CHAOS_SEED", str(random.randrange(1_000_000)))  # noqa: S311 (hides nothing)


def size(short, long):
    """The one that belongs to this run's form."""
    return long if LONG else short
