"""What of a task's calls must not be seen: its sensitive arguments.

A row keeps them as they are, for the task needs them. They are hidden where people
look: on pages, in what is stored of errors, in logs.
"""

from __future__ import annotations

import copy
import inspect
import json
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

from django.views.decorators.debug import (
    coroutine_functions_to_sensitive_variables,
    sensitive_variables,
)

from django_bgtasks.encoding import TAG, decode_known
from django_bgtasks.exceptions import Redacted

#: Shown in place of what is hidden; Django's own.
MASK = "*" * 20
#: Shorter texts are not looked for in errors: they stand everywhere by chance.
SECRET_LENGTH = 4
#: Nor are these, in any case of their letters.
COMMON_WORDS = frozenset({"none", "null", "true", "false"})
#: Characters of sensitive values that are looked for; beyond, texts are hidden whole.
SIZE_LIMIT = 1_000_000
#: Characters of a text times spellings to look for in it; likewise.
WORK_LIMIT = 10**9

_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)
_BY_KEYWORD = (
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)

T = TypeVar("T")


class Redaction:
    """Which arguments of a function must not be seen.

    What fits no parameter, as in rows from before the function was changed, is hidden
    as well: nobody knows what it is.

    Args:
        names: of the sensitive parameters, or of keywords that ``**kwargs`` takes.
        parameters: of a call, in order.
    """

    def __init__(
        self, names: Collection[str], parameters: Iterable[inspect.Parameter]
    ) -> None:
        self._names = frozenset(names)
        known = list(parameters)
        self._positional = [p.name for p in known if p.kind in _POSITIONAL]
        self._keywords = {p.name for p in known if p.kind in _BY_KEYWORD}
        # The names of *args and **kwargs, by their kind.
        self._rest = {p.kind: p.name for p in known}

    def visible(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of a call as they may be shown."""
        if not _is_call(args, kwargs):
            return [MASK], {}
        return (
            [
                MASK if self._hides_position(index) else value
                for index, value in enumerate(args)
            ],
            {
                key: MASK if self._hides_keyword(key) else value
                for key, value in kwargs.items()
            },
        )

    def secrets(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Secrets:
        """What of a call must not stand in any text."""
        if not _is_call(args, kwargs):
            return Secrets([args, kwargs])
        return Secrets(
            [
                *(v for index, v in enumerate(args) if self._hides_position(index)),
                *(v for key, v in kwargs.items() if self._hides_keyword(key)),
            ]
        )

    def _hides_position(self, index: int) -> bool:
        if index < len(self._positional):
            return self._positional[index] in self._names
        return self._hides_rest(inspect.Parameter.VAR_POSITIONAL)

    def _hides_keyword(self, key: str) -> bool:
        if key in self._names or key in self._keywords:
            return key in self._names
        return self._hides_rest(inspect.Parameter.VAR_KEYWORD)

    def _hides_rest(self, kind: Any) -> bool:
        name = self._rest.get(kind)
        return name is None or name in self._names


def _is_call(args: Any, kwargs: Any) -> bool:
    """Not so in a row that somebody has written by SQL: what is what, nobody knows."""
    return isinstance(args, (list, tuple)) and isinstance(kwargs, Mapping)


#: Of a task that nobody knows here, and whose sensitive parameters nobody knows.
EVERYTHING = Redaction((), ())


class Secrets:
    """Values that must not be seen in any text.

    Args:
        values: plain JSON. Remembered as they are now: a task may change its own.
    """

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = copy.deepcopy(values)

    def mask(self, text: str) -> str:
        """``text`` with ``MASK`` wherever one of the values stands in it.

        Found are texts, numbers, and all that lies within lists and dicts but their
        keys: as they are, as Python and JSON write them, as they stand in URLs, and
        line by line. Not found are those of fewer than 4 characters, ``True``,
        ``False`` and ``None``, nor what somebody has made of a value: a hash, a half.

        Returns:
            ``MASK`` alone, if ``text`` and values are too much to look through.
        """
        if self._are_large or len(text) * len(self._spellings) > WORK_LIMIT:
            return MASK
        shown, end = [], 0
        for start, stop in _merged(_occurrences(text, self._spellings)):
            shown += [text[end:start], MASK]
            end = stop
        return "".join([*shown, text[end:]])

    @cached_property
    def _are_large(self) -> bool:
        return len(json.dumps(self._values)) > SIZE_LIMIT

    @cached_property
    def _spellings(self) -> set[str]:
        return {
            spelling
            for value in self._values
            for text in _texts(value)
            if len(text) >= SECRET_LENGTH and text.lower() not in COMMON_WORDS
            for spelling in _spellings(text)
        }


def marked_by_django(function: Callable[..., Any]) -> Collection[str] | None:
    """The names that Django's ``sensitive_variables`` was given for ``function``.

    Args:
        function: plain or ``async``; other decorators may be above and below.

    Returns:
        None if it was given no names, which means all variables.
    """
    names: set[str] = set()
    link: Callable[..., Any] | None = function
    while link is not None:
        marked = _marked_here(link)
        if marked == _ALL:
            return None
        names.update(marked)
        link = getattr(link, "__wrapped__", None)
    return names


def loggable(error: BaseException, secrets: Secrets | None) -> BaseException:
    """What may be logged instead of ``error``: its traceback, as a masked text.

    Without secrets, the error itself.
    """
    if secrets is None:
        return error
    return Redacted(secrets.mask(formatted(traceback.format_exception, error)))


def formatted(
    formatter: Callable[[BaseException], list[str]], error: BaseException
) -> str:
    """``error`` as text, by a function of ``traceback``."""
    try:
        return "".join(formatter(error))
    # Of the error's own code, which may raise anything; it is to be told all the same.
    except BaseException as trouble:  # noqa: BLE001 (see above)
        path = path_of(type(error))
        return f"{path}, of which Python cannot tell more ({type(trouble).__name__})"


def path_of(kind: type[BaseException]) -> str:
    """The name of a class with that of its module."""
    return f"{kind.__module__}.{kind.__qualname__}"


def while_handling(error: BaseException, do: Callable[[], T]) -> T:
    """What ``do`` returns, called where ``sys.exc_info()`` tells of ``error`` alone.

    Not of what is being handled already, nor of any frame and its variables.
    """
    try:
        raise error
    except type(error):
        error.__context__ = error.__traceback__ = None
        return do()


#: What Django writes where no names were given.
_ALL = "__ALL__"
#: All functions that ``sensitive_variables`` has made share their code.
_WRAPPER = sensitive_variables()(lambda: None).__code__


def _marked_here(function: Callable[..., Any]) -> Collection[str]:
    code = getattr(function, "__code__", None)
    if code is None:
        return ()
    if code is _WRAPPER:
        # The wrapper tells its frame only when it is called; until then its closure
        # alone knows.
        return inspect.getclosurevars(function).nonlocals["variables"] or _ALL
    # Async functions are not wrapped: Django notes where they stand in their file.
    place = hash(f"{code.co_filename}:{code.co_firstlineno}")
    return coroutine_functions_to_sensitive_variables.get(place, ())


def _texts(value: Any) -> Iterator[str]:
    """How ``value`` and all that lies within it read as text."""
    match value:
        case None | bool():
            return
        case str():
            yield value.strip()
            # An error message may be indented, line by line.
            yield from (line.strip() for line in value.splitlines())
        case dict() if TAG in value:
            yield from _texts_of_tagged(value)
        case list() | dict():
            yield from (repr(value), json.dumps(value))
            for item in value.values() if isinstance(value, dict) else value:
                yield from _texts(item)
        case _:
            yield repr(value)


def _texts_of_tagged(value: dict[str, Any]) -> Iterator[str]:
    """Not its kind and its class, which tracebacks are full of."""
    for key, item in value.items():
        if key not in (TAG, "class"):
            yield from _texts(item)
    decoded = decode_known(value)
    # What the task was given, and may have written into an error.
    for write in (str, repr):
        with suppress(Exception):
            yield write(decoded)


def _spellings(text: str) -> Iterator[str]:
    """How ``text`` may be written in others. Errors quote, and quote what quotes."""
    for once in (text, *_quoted(text)):
        yield once
        yield from _quoted(once)
    encoded = text.encode("utf-8", "surrogatepass")
    yield repr(encoded)[2:-1]
    yield from (quote(encoded), quote(encoded, safe=""), quote_plus(encoded))


def _quoted(text: str) -> Iterator[str]:
    for write in (repr, ascii, json.dumps):
        yield write(text)[1:-1]
    # Where both kinds of quotes occur, Python escapes one of them.
    yield repr("\"'" + text)[4:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]


def _occurrences(text: str, spellings: Iterable[str]) -> Iterator[tuple[int, int]]:
    for spelling in spellings:
        start = text.find(spelling)
        while start >= 0:
            end = start + len(spelling)
            yield start, end
            start = text.find(spelling, end)


def _merged(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The same stretches in order, those that overlap or touch as one."""
    begin, end = 0, 0
    for start, stop in sorted(spans):
        if start > end:
            if end:
                yield begin, end
            begin = start
        end = max(end, stop)
    if end:
        yield begin, end
