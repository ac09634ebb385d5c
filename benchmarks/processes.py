"""What a process and its children use, from Linux's /proc."""

from __future__ import annotations

import os
import re
from pathlib import Path

PROC = Path("/proc")


def memory(pid: int) -> float:
    """Megabytes, where pages that several processes share count once (PSS)."""
    return sum(map(_pss_kilobytes, _tree(pid))) / 1024


def cpu_seconds(pid: int) -> float:
    """Seconds of a core that those have used that are alive."""
    ticks = sum(sum(_stat(one)[11:13]) for one in _tree(pid))
    return ticks / os.sysconf("SC_CLK_TCK")


def _tree(pid: int) -> list[int]:
    parents = {}
    for path in PROC.glob("[0-9]*"):
        if numbers := _stat(int(path.name)):
            parents[int(path.name)] = numbers[1]
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def _stat(pid: int) -> list[int]:
    """/proc/<pid>/stat from the third field on; its name may contain anything."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    state, *numbers = text.rpartition(")")[2].split()
    return [ord(state), *map(int, numbers)]


def _pss_kilobytes(pid: int) -> int:
    try:
        text = (PROC / str(pid) / "smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    match = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(match[1]) if match else 0
