"""What a text that somebody types looks for among jobs."""

from __future__ import annotations

import inspect
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q

from django_bgtasks.arguments import normalize
from django_bgtasks.exceptions import NotJSON
from django_bgtasks.models import Attempt
from django_bgtasks.tasks import Task, find_task, registered_tasks

_ARGUMENT = re.compile(r"([^\W\d]\w*)\s*=\s*(.*)", re.DOTALL)
_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_DIGITS = frozenset("0123456789abcdef")
#: UUIDv7 themselves, for MariaDB sorts other versions by other bytes first.
_FIRST_ID = "00000000000070008000000000000000"
_LAST_ID = "ffffffffffff7fffbfffffffffffffff"


@dataclass(frozen=True)
class Search:
    """Which jobs a text finds.

    Args:
        condition: what they have in common.
        ids: the bounds of their ids, if it is nothing else.
        error: what an error of theirs has to contain, if it is nothing else.
    """

    condition: Q
    ids: tuple[UUID, UUID] | None = None
    error: str = ""


def search(text: str, *, sees_arguments: bool, task: str = "") -> Search:
    """Understand ``text``: an id or its beginning, an argument, a task, or an error.

    Args:
        sees_arguments: whether arguments, and errors that may quote them, may be
            searched.
        task: the one that is searched, if it is only one.
    """
    ids = _ids_beginning(text)
    if find_task(text) is not None:
        return Search(Q(task=text))
    if ids is not None:
        return Search(Q(pk__range=ids), ids=ids)
    if not sees_arguments:
        return Search(Q(task=text))
    argument = _ARGUMENT.fullmatch(text)
    # Two underscores would lead into the argument.
    if argument is not None and "__" not in argument[1]:
        return Search(_has_argument(argument[1], argument[2].strip(), task))
    if _PATH.fullmatch(text):
        # Perhaps a task that is no more.
        return Search(Q(task=text) | has_error(text))
    return Search(has_error(text), error=text)


def has_error(text: str) -> Q:
    """Jobs with an attempt whose error contains ``text``."""
    return Q(Exists(Attempt.objects.filter(job=OuterRef("pk"), error__icontains=text)))


def _ids_beginning(text: str) -> tuple[UUID, UUID] | None:
    digits = text.replace("-", "").lower()
    if not digits or len(digits) > 32 or set(digits) - _DIGITS:
        return None
    return (
        UUID(digits + _FIRST_ID[len(digits) :]),
        UUID(digits + _LAST_ID[len(digits) :]),
    )


# -- arguments


def _has_argument(name: str, text: str, task: str) -> Q:
    """Jobs with this argument, by keyword or in its place.

    Only of tasks that are known here and let it be seen: to find a job by a sensitive
    argument would be to see it.
    """
    keyword, places = _where(name, _searched(task))
    found = Q(task__in=keyword) & _equals("kwargs", name, text)
    for place, paths in places.items():
        found |= Q(task__in=paths) & _equals("args", str(place), text)
    return found


def _searched(task: str) -> Iterator[Task[Any, Any]]:
    if not task:
        return registered_tasks()
    found = find_task(task)
    return iter(() if found is None else (found,))


def _where(
    name: str, tasks: Iterable[Task[Any, Any]]
) -> tuple[list[str], dict[int, list[str]]]:
    """The tasks that show this argument, by keyword, and by place."""
    keyword: list[str] = []
    places: defaultdict[int, list[str]] = defaultdict(list)
    for task in tasks:
        if _shows(task, [], {name: ""}):
            keyword.append(task.path)
        place = _place(task, name)
        if place is not None and _shows(task, [""] * (place + 1), {}):
            places[place].append(task.path)
    return keyword, places


def _place(task: Task[Any, Any], name: str) -> int | None:
    parameter = task.parameters.get(name)
    if parameter is None or parameter.kind not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        return None
    return list(task.parameters).index(name)


def _shows(task: Task[Any, Any], args: list[Any], kwargs: dict[str, Any]) -> bool:
    """Whether nobody hides the last of these arguments."""
    if task.redaction is None:
        return True
    shown_args, shown_kwargs = task.redaction.visible(args, kwargs)
    return shown_args[-1:] == args[-1:] and shown_kwargs == kwargs


def _equals(column: str, key: str, text: str) -> Q:
    found = Q()
    for value in _readings(text):
        # Not the lookup of that name, if the key is called like one.
        found |= Q(**{f"{column}__{key}__exact": value})
    return found


def _readings(text: str) -> Iterator[Any]:
    """What JSON may hold that somebody types as ``text``: 42 may be a text as well."""
    try:
        # Python reads NaN and the like, which no row holds and some database refuses.
        value = normalize(json.loads(text), "")
    except (ValueError, NotJSON, RecursionError):
        value = text
    if isinstance(value, (list, dict)):
        value = text
    yield value
    if value != text and not isinstance(value, str):
        yield text
