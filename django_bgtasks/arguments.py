"""Arguments and return values as JSON: the rules, and errors that name the place."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import math
import pathlib
import uuid
from collections.abc import Mapping, Sequence, Set
from typing import Any

from django_bgtasks.exceptions import NotJSON

#: Levels of lists and dicts; MariaDB's JSON ends at 32.
DEPTH_LIMIT = 30
#: Python writes no integer of more than 4,300 digits as text.
INTEGER_BITS = 4096
#: Characters of a result as JSON. Rows are no place for files, and a row that is too
#: large for the database would never be written.
RESULT_LIMIT = 1_000_000


def normalize_call(
    args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call as the JSON that the task will be given.

    Raises:
        NotJSON: an argument cannot be JSON; the message names its path.
    """
    return (
        [normalize(value, f"args[{index}]") for index, value in enumerate(args)],
        {key: normalize(value, key) for key, value in kwargs.items()},
    )


def normalize_result(value: Any) -> Any:
    """What a task returned, as the JSON that its row keeps.

    Raises:
        NotJSON: it cannot be JSON, or there is too much of it.
    """
    if isinstance(value, range) and len(value) > RESULT_LIMIT:
        # It takes no memory before it is made a list.
        raise NotJSON(
            f"the return value is {value}; at most {RESULT_LIMIT:,} are kept."
        )
    try:
        value = normalize(value, "the return value")
    except NotJSON:
        raise
    except Exception as error:
        # Some class of the project's. The work is done, so it must not be done again.
        raise NotJSON(
            f"the return value cannot be read: {type(error).__name__}."
        ) from error
    # A short text or a number needs no measuring.
    size = len(json.dumps(value)) if isinstance(value, (str, list, dict)) else 0
    if size > RESULT_LIMIT:
        raise NotJSON(
            f"the return value takes {size:,} characters as JSON; at most "
            f"{RESULT_LIMIT:,} are kept. Store it elsewhere and return where it is."
        )
    return value


def normalize(value: Any, where: str, depth: int = 0) -> Any:
    """``value`` in plain JSON types: tuples become lists, bytes UTF-8 text.

    Follows ``django.utils.json.normalize_json``, and refuses what some database
    would refuse later: NaN and infinities, NUL characters, lone surrogates, endless
    integers, more than 30 levels.

    Args:
        value: anything.
        where: how the caller refers to it, the start of the path in an error.
        depth: levels that it lies within already.

    Raises:
        NotJSON: ``value`` or something in it cannot be JSON.
    """
    match value:
        case None | bool():
            return value
        case int():
            return _finite_integer(value, where)
        case str():
            return _storable_text(value, where)
        case float():
            if math.isfinite(value):
                return value
            raise NotJSON(f"{where} is {value}; JSON has no such number.")
        case bytes():
            return _storable_text(_decoded(value, where), where)
        case Mapping() | Sequence() if depth == DEPTH_LIMIT:
            raise NotJSON(
                f"{where} lies more than {DEPTH_LIMIT} levels deep; pass less nested "
                "data, or text."
            )
        case Mapping():
            return _normalize_mapping(value, where, depth + 1)
        case Sequence():
            return [
                normalize(item, f"{where}[{index}]", depth + 1)
                for index, item in enumerate(value)
            ]
        case _:
            raise NotJSON(_refusal(value, where))


def _normalize_mapping(
    value: Mapping[Any, Any], where: str, depth: int
) -> dict[str, Any]:
    normal = {
        _key(key, where): normalize(item, _inside(where, key), depth)
        for key, item in value.items()
    }
    if len(normal) < len(value):
        raise NotJSON(f"{where} has two keys that are the same text in JSON.")
    return normal


def _inside(where: str, key: Any) -> str:
    if isinstance(key, str) and key.isidentifier():
        return f"{where}.{key}"
    return f"{where}[{key!r}]"


def _finite_integer(value: int, where: str) -> int:
    if value.bit_length() > INTEGER_BITS:
        raise NotJSON(
            f"{where} is an integer of more than {INTEGER_BITS} bits; pass it as text."
        )
    return value


def _decoded(value: bytes, where: str) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise NotJSON(
            f"{where} is bytes that are not UTF-8 text; encode them, for example with "
            "base64."
        ) from None


def _storable_text(text: str, where: str) -> str:
    if "\x00" in text:
        raise NotJSON(f"{where} contains a NUL character, which JSONB cannot hold.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NotJSON(
            f"{where} contains a lone surrogate, which is not valid text."
        ) from None
    return text


def _key(key: Any, where: str) -> str:
    match key:
        case str():
            return _storable_text(key, f"a key of {where}")
        case True:
            return "true"
        case False:
            return "false"
        case None:
            return "null"
        case int() | float():
            return str(key)
        case _:
            raise NotJSON(
                f"{where} has the key {key!r}, a {_type_name(key)}; keys must be str."
            )


def _refusal(value: Any, where: str) -> str:
    article = "an" if _type_name(value)[0].lower() in "aeiou" else "a"
    return f"{where} is {article} {_type_name(value)}; {_way_out(value)}."


def _way_out(value: Any) -> str:
    # Models and querysets are told by their attributes: definitions import no ORM.
    match value:
        case datetime.datetime() | datetime.date() | datetime.time():
            return "pass .isoformat()"
        case datetime.timedelta():
            return "pass .total_seconds()"
        case decimal.Decimal() | uuid.UUID() | pathlib.PurePath():
            return "pass str(...) of it"
        case enum.Enum():
            return "pass .value"
        case Set():
            return "pass a list of it"
        case object(_meta=_, pk=_):
            return "pass its primary key (.pk) and fetch it in the task"
        case object(query=_, model=_):
            return "pass a list of primary keys and fetch them in the task"
        case _:
            return "pass text, numbers, lists or dicts of them"


def _type_name(value: Any) -> str:
    return type(value).__name__
