"""JSON that somebody has typed."""

from __future__ import annotations

import json
from typing import TypeVar

from django.core.management.base import CommandError

T = TypeVar("T")

#: Characters that are shown before and behind a mistake.
CONTEXT = 30


def parse(text: str, kind: type[T], *, name: str, example: str, is_secret: bool) -> T:
    """``text`` as a list or a dict.

    Args:
        name: what the errors call it.
        example: of what it has to be.
        is_secret: whether errors must not show any of it.

    Raises:
        CommandError: it is no JSON, or JSON of something else.
    """
    noun = "a list" if kind is list else "an object"
    wanted = f"{name} must be {noun} in JSON, such as '{example}'."
    try:
        value = json.loads(text)
    except ValueError as error:
        raise CommandError(f"{wanted} {_problem(error, is_secret)}") from None
    except RecursionError:
        raise CommandError(f"{name} is nested too deeply.") from None
    if not isinstance(value, kind):
        raise CommandError(wanted)
    return value


def _problem(error: ValueError, is_secret: bool) -> str:
    if not isinstance(error, json.JSONDecodeError):
        # Of a number with thousands of digits.
        return str(error)
    where = f"{error.msg} (line {error.lineno}, column {error.colno})."
    if is_secret:
        return f"{where} It is not shown, for the task has sensitive arguments."
    line = error.doc.split("\n")[error.lineno - 1]
    column = error.colno - 1
    start = max(column - CONTEXT, 0)
    shown = line[start : column + CONTEXT]
    return f"{where}\n  {shown}\n  {' ' * (column - start)}^"
