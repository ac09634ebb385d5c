"""How much memory this process takes."""

from __future__ import annotations

import sys
from pathlib import Path

_STATM = Path("/proc/self/statm")


def can_tell() -> bool:
    """Whether ``resident_bytes`` works on this system."""
    return sys.platform != "win32"


def resident_bytes() -> int:
    """Bytes of this process in memory; where that is not told, the most there were."""
    import resource  # noqa: PLC0415 (there is none on Windows)

    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
