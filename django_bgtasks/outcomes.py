"""What an attempt produced, as a value. Computed by the executor, acted on by the store."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias

from django_bgtasks.redaction import Secrets, formatted, path_of

#: Characters of a traceback that are kept; the middle of a longer one is cut out.
TRACEBACK_LIMIT = 20_000
#: Characters of the name of an exception's class.
PATH_LIMIT = 255
#: Characters of the one-line error that lists show.
SUMMARY_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Error:
    """One exception as text: what lists and pages show of it."""

    exception_class_path: str
    summary: str
    traceback: str

    @classmethod
    def from_exception(
        cls,
        error: BaseException,
        secrets: Secrets | None = None,
        raised: BaseException | None = None,
    ) -> Error:
        """``error`` with its traceback, bounded and storable on every database.

        Args:
            error: what happened.
            secrets: what the texts must not contain.
            raised: what it ended in, whose traceback tells of both; None: ``error``.
        """
        message = formatted(traceback.format_exception_only, error)
        trace = formatted(
            traceback.format_exception, error if raised is None else raised
        )
        if secrets is not None:
            # Before anything is cut or joined: half of one would not be found.
            message, trace = secrets.mask(message), secrets.mask(trace)
        return cls(
            exception_class_path=bounded(path_of(type(error)), PATH_LIMIT),
            summary=bounded(" ".join(message.split()), SUMMARY_LIMIT),
            traceback=bounded(trace, TRACEBACK_LIMIT),
        )


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The body returned ``value`` (JSON)."""

    value: Any = None


@dataclass(frozen=True, slots=True)
class Recorded(Succeeded):
    """The same, and written already: in the transaction in which the body ran."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The body raised; ``retry_in`` is None when there shall be no other attempt."""

    error: Error
    retry_in: timedelta | None


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The body ran past its time limit; otherwise as Failed."""

    error: Error
    retry_in: timedelta | None


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker died while it ran the body; otherwise as Failed."""

    error: Error
    retry_in: timedelta | None


@dataclass(frozen=True, slots=True)
class Snoozed:
    """The task asked to run later; the attempt does not count."""

    delay: timedelta


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The task cancelled itself, or somebody cancelled it while it ran."""

    error: Error


@dataclass(frozen=True, slots=True)
class Expired:
    """Not begun in time; the attempt does not count."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """This worker does not know the task; the attempt does not count."""


@dataclass(frozen=True, slots=True)
class Released:
    """Claimed, but handed back; the attempt does not count.

    Args:
        has_begun: whether its body was called.
    """

    has_begun: bool = False


Outcome: TypeAlias = (
    Succeeded
    | Failed
    | TimedOut
    | Lost
    | Snoozed
    | Cancelled
    | Expired
    | Unknown
    | Released
)


def storable(text: str) -> str:
    """``text`` without what PostgreSQL stores in no text: NUL and lone surrogates."""
    text = text.replace("\x00", "\\x00")
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def bounded(text: str, limit: int) -> str:
    """``text``, storable, with its middle cut out if it is longer than ``limit``."""
    text = storable(text)
    if len(text) <= limit:
        return text
    mark = f" ... {len(text) - limit} characters left out ... "
    half = max((limit - len(mark)) // 2, 0)
    return text[:half] + mark + text[-half:]
