"""Columns of kinds that Django has not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import StrIndex
from django.db.models.lookups import GreaterThan

#: Stands before, between and behind tags, so that each can be looked for.
BAR = "|"


if TYPE_CHECKING:
    _CharField = models.CharField[Iterable[str], tuple[str, ...]]
else:
    _CharField = models.CharField


class TagsField(_CharField):
    """A few words, kept as text between bars, which every database can search."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"max_length": 255, **kwargs})

    def from_db_value(self, value: str | None, *args: object) -> tuple[str, ...]:
        return self.to_python(value)

    def to_python(self, value: Any) -> tuple[str, ...]:
        if isinstance(value, str):
            return tuple(tag for tag in value.split(BAR) if tag)
        return tuple(value or ())

    def get_prep_value(self, value: Any) -> Any:
        # Text is what to look for in a row.
        return tagged(*value) if isinstance(value, (list, tuple)) else value


def has_tag(tag: str) -> Q:
    """Whether a row has this tag, in the same letters, on every database.

    SQLite's LIKE takes no heed of their case, and MySQL's INSTR takes none.
    """
    text = tagged(tag)
    return Q(tags__contains=text) & Q(GreaterThan(StrIndex("tags", Value(text)), 0))


def tagged(*tags: str) -> str:
    """How a row writes ``tags``; of one, what to look for in it."""
    return f"{BAR}{BAR.join(tags)}{BAR}" if tags else ""
