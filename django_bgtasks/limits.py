"""Limits: which jobs count as the same, and what holds one back. Pure."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, TypeAlias, get_args

#: What of a call makes it the same as another one: nothing, all its arguments, the named
#: ones, or what a function says that is called with them.
Unique: TypeAlias = bool | str | Sequence[str] | Callable[..., Any]
#: How long: a word, or a period in seconds or as a timedelta.
UniqueUntil: TypeAlias = Literal["finished", "started"] | float | timedelta
OnConflict: TypeAlias = Literal["skip", "replace", "debounce", "raise"]

ON_CONFLICT = get_args(OnConflict)
#: Those that change the job that waits, and so have nothing to say to one that runs.
CHANGES_WAITING = ("replace", "debounce")


def arguments_by_name(
    signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of a call by the names of their parameters, defaults included.

    So that ``send(1)`` and ``send(user_id=1)`` are the same.
    """
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


def argument(
    signature: inspect.Signature, arguments: Mapping[str, Any], name: str
) -> Any:
    """One of these, or of the keywords that the function collects; None: not given."""
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD and name not in signature.parameters:
            return arguments[parameter.name].get(name)
    return arguments.get(name)


def key_of(task: str, subject: Any) -> str:
    """The unique key of a call: the same for the same, of 32 characters.

    Args:
        task: what rows call the task.
        subject: what the call is about, mostly plain JSON.
    """
    # A default that is no JSON says nothing that another process would say, too, but
    # its type.
    text = json.dumps([task, subject], sort_keys=True, default=_type_name)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _type_name(value: Any) -> str:
    return type(value).__qualname__
