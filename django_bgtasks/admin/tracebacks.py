"""A traceback in parts: what the project's own code did, and what libraries did. Pure.

Stored texts come from other hosts, are cut in the middle, hold groups and chains of
exceptions and whatever else somebody has raised. What is not understood stays text.
"""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import groupby, pairwise
from pathlib import Path
from typing import Literal

from django.utils.translation import ngettext

Kind = Literal["text", "own", "library"]

#: The first line of a frame. An exception in a group stands behind bars.
_FRAME = re.compile(
    r'(?P<margin>[ |]*)  File "(?P<path>[^"\n]+)", line \d+, in [^\n]+\n?\Z'
)
#: Not splitlines(), which knows other ends of lines, too.
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
#: Of a function that calls itself, below its frame.
_REPEATED = "  [Previous line repeated"
#: What outcomes.bounded() leaves of a middle.
_CUT = " characters left out ..."

_INSTALLED = {"site-packages", "dist-packages"}
_PYTHON = re.compile(r"(python|pypy)\d[\d.]*t?(\.zip)?", re.IGNORECASE)
_PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Part:
    """Some lines of a traceback.

    Args:
        kind: "own" for frames of the project's code, "library" for others, "text" for
            all else.
        text: as it is, with the ends of its lines.
        frames: how many they are.
    """

    kind: Kind
    text: str
    frames: int = 0

    @property
    def summary(self) -> str:
        """What stands for frames that are folded away."""
        text = ngettext(
            "… {count} frame of libraries", "… {count} frames of libraries", self.frames
        )
        return text.format(count=self.frames)


def split(traceback: str) -> list[Part]:
    """``traceback`` in parts that, joined, are the same text."""
    parts = []
    for kind, group in groupby(_blocks(traceback), key=lambda block: block.kind):
        blocks = list(group)
        text = "".join(block.text for block in blocks)
        parts.append(Part(kind, text, sum(block.frames for block in blocks)))
    return parts


@lru_cache(maxsize=1024)
def is_library(path: str) -> bool:
    """Whether a file is of Python, of this package, or of another that is installed.

    Decided by the names in the path, for it may be of another host, and by where
    Python and this package are on this one.
    """
    if path.startswith("<"):
        # Of no file: made by code, or a part of Python.
        return True
    if path.startswith(_installed_here()):
        return True
    names = re.split(r"[/\\]", path)
    return (
        not _INSTALLED.isdisjoint(names)
        or any(_is_python(*pair) for pair in pairwise(names))
        or any(_is_ours(*pair) for pair in pairwise(names))
    )


def _blocks(traceback: str) -> Iterator[Part]:
    """Frames, each with its lines of code, and single lines of all else."""
    frame: list[str] = []
    kind: Kind = "text"
    margin = ""
    for line in _LINE.findall(traceback):
        found = _FRAME.match(line) if _CUT not in line else None
        if found is None and frame and _is_below(line, margin):
            frame.append(line)
            continue
        if frame:
            yield Part(kind, "".join(frame), 1)
            frame = []
        if found is None:
            yield Part("text", line)
            continue
        frame, margin = [line], found["margin"]
        kind = "library" if is_library(found["path"]) else "own"
    if frame:
        yield Part(kind, "".join(frame), 1)


def _is_below(line: str, margin: str) -> bool:
    """Whether a line belongs to the frame that begins above it, behind ``margin``."""
    if _CUT in line or not line.startswith(margin):
        return False
    rest = line[len(margin) :]
    return rest.startswith(("    ", _REPEATED))


def _is_python(name: str, following: str) -> bool:
    """Two names of a path, as in ``lib/python3.13`` or ``Python313\\Lib``."""
    if name in {"lib", "lib64"}:
        return bool(_PYTHON.fullmatch(following))
    return following == "Lib" and bool(_PYTHON.fullmatch(name))


def _is_ours(name: str, following: str) -> bool:
    # A project may well stand below a directory with our name.
    return name == _PACKAGE.name and following in _our_files()


@cache
def _our_files() -> frozenset[str]:
    return frozenset(file.name for file in _PACKAGE.iterdir())


@cache
def _installed_here() -> tuple[str, ...]:
    places = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    return tuple(f"{place}/" for place in (*places, str(_PACKAGE)) if place)
