"""The pages of the documentation, and the blocks of code on them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]

_FENCE = re.compile(r"(?P<indent> *)```(?P<language>\S*)")
_NOT_RUN = re.compile(r" *<!-- not run: (?P<reason>.+) -->")
_JOBS_FAIL = re.compile(r"<!-- jobs fail: .+ -->")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page.

    Attributes:
        line: of its fence; the code begins on the next one.
        language: what the fence says that it is.
        code: as far in as the fence is; that of a method begins with spaces.
        run: False if the line before says that it is not run, and why.
    """

    page: Path
    line: int
    language: str
    code: str
    run: bool

    @property
    def place(self) -> str:
        return f"{name_of(self.page)}:{self.line}"

    def padded(self, last_class: str) -> str:
        """The code on the lines on which it stands, so that tracebacks show them.

        Args:
            last_class: what code that begins with spaces goes on with.
        """
        goes_on = self.code.startswith(" ")
        head = f"class {last_class}({last_class}):" if goes_on else ""
        return "\n" * (self.line - 1) + f"{head}\n{self.code}"


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of ``page``, in order."""
    return list(_blocks(page, page.read_text(encoding="utf-8").splitlines()))


def jobs_may_fail(page: Path) -> bool:
    """Whether ``page`` says that what it enqueues is meant to fail."""
    return bool(_JOBS_FAIL.search(page.read_text(encoding="utf-8")))


def _blocks(page: Path, lines: list[str]) -> Iterator[Block]:
    opened: int | None = None
    for number, line in enumerate(lines, start=1):
        fence = _FENCE.match(line)
        if fence and opened is None:
            opened, (indent, language) = number, fence.groups()
        elif fence and opened is not None:
            yield Block(
                page=page,
                line=opened,
                language=language,
                code="".join(
                    f"{text.removeprefix(indent)}\n"
                    for text in lines[opened : number - 1]
                ),
                run=not _NOT_RUN.fullmatch(lines[opened - 2]),
            )
            opened = None
