"""Arguments and return values as JSON and back, and errors that name the place."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import math
import pathlib
import uuid
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from types import NoneType
from typing import Any

from django.utils.functional import Promise

from django_bgtasks.conf import get_settings
from django_bgtasks.encoding import (
    TAG,
    RichEncoder,
    Tagged,
    are_plain,
    decode,
    get_encoder,
)
from django_bgtasks.exceptions import NotJSON
from django_bgtasks.references import fetch_call

#: Levels of lists and dicts; MariaDB's JSON ends at 32.
DEPTH_LIMIT = 30
#: Python writes no integer of more than 4,300 digits as text.
INTEGER_BITS = 4096
#: Characters of a result as JSON. Rows are no place for files, and a row that is too
#: large for the database would never be written.
RESULT_LIMIT = 1_000_000

#: What the rules below make JSON. The encoder is asked about all other types, and
#: before them: an IntEnum is an integer, too.
_PLAIN = frozenset({NoneType, bool, int, float, str, bytes, list, tuple, dict})


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


def restore_call(
    args: list[Any], kwargs: dict[str, Any]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """The arguments of a stored call as the task gets them; references are fetched.

    Raises:
        CannotDecode: one cannot be made a value again.
        ReferenceGone: one refers to what is gone.
    """
    # Most calls have nothing but text and numbers, and there are many.
    if are_plain(args) and (not kwargs or are_plain(kwargs.values())):
        return args, kwargs
    return fetch_call(decode(args), {k: decode(v) for k, v in kwargs.items()})


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

    What JSON has not, ``BGTASKS["ENCODER"]`` may take; it becomes a tagged dict.

    Raises:
        NotJSON: ``value`` or something in it cannot be JSON.
    """
    if type(value) not in _PLAIN and (tagged := _encoded(value, where)):
        return _normalize_tagged(tagged, where, depth)
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
        case Mapping():
            _check_depth(where, depth)
            normal = _normalize_mapping(value, where, depth + 1)
            if TAG in normal:
                raise NotJSON(
                    f"{where} has the key {TAG!r}, by which rows tell values that are "
                    "no JSON; rename it, or pass text."
                )
            return normal
        case Sequence():
            _check_depth(where, depth)
            return [
                normalize(item, f"{where}[{index}]", depth + 1)
                for index, item in enumerate(value)
            ]
        case _:
            raise NotJSON(_refusal(value, where))


def _encoded(value: Any, where: str) -> Tagged | None:
    try:
        return get_encoder().encode(value)
    except ValueError as error:
        raise NotJSON(f"{where} is {_named(value)}, and {error}.") from error


def _normalize_tagged(tagged: Tagged, where: str, depth: int) -> dict[str, Any]:
    _check_depth(where, depth)
    fields = _normalize_mapping(tagged.fields, where, depth + 1)
    return {**fields, TAG: tagged.kind}


def _check_depth(where: str, depth: int) -> None:
    if depth == DEPTH_LIMIT:
        raise NotJSON(
            f"{where} lies more than {DEPTH_LIMIT} levels deep; pass less nested "
            "data, or text."
        )


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
        case int():
            return int.__repr__(key)  # as json has it: an enum has a str() of its own
        case float():
            return float.__repr__(key)
        case _:
            raise NotJSON(
                f"{where} has the key {key!r}, a {_type_name(key)}; keys must be str."
            )


def _refusal(value: Any, where: str) -> str:
    return f"{where} is {_named(value)}; {_way_out(value)}{_other_way(value)}."


def _named(value: Any) -> str:
    article = "an" if _type_name(value)[0].lower() in "aeio" else "a"  # a User
    return f"{article} {_type_name(value)}"


def _way_out(value: Any) -> str:
    # Models and querysets are told by their attributes, lazy ones too.
    match value:
        case datetime.datetime() | datetime.date() | datetime.time():
            return "pass .isoformat()"
        case datetime.timedelta():
            return "pass .total_seconds()"
        case decimal.Decimal() | uuid.UUID() | pathlib.PurePath() | Promise():
            return "pass str(...) of it"
        case enum.Enum():
            return "pass .value"
        case Set():
            return "pass a list of it"
        case object(_meta=_, pk=_):
            return (
                "pass its primary key (.pk) and fetch it in the task, or pass ref(...) "
                "of it"
            )
        case object(query=_, model=_):
            return "pass a list of primary keys and fetch them in the task"
        case _:
            return "pass text, numbers, lists or dicts of them"


def _other_way(value: Any) -> str:
    with suppress(ValueError):
        if get_settings().encoder is None and RichEncoder().encode(value):
            return ', or set BGTASKS["ENCODER"]'
    return ""


def _type_name(value: Any) -> str:
    return type(value).__name__
