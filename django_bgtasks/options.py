"""What can be said of a task and its jobs, and the checks of it. Pure."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, get_args

from django.conf import settings
from django.utils import timezone

from django_bgtasks._framework import InvalidTask
from django_bgtasks.conf import LONGEST_AGE, MOST_ATTEMPTS
from django_bgtasks.exceptions import UnknownOption, as_timedelta, suggestion
from django_bgtasks.labels import NAME_LIMIT
from django_bgtasks.limits import (
    CHANGES_WAITING,
    ON_CONFLICT,
    OnConflict,
    Unique,
    UniqueUntil,
)
from django_bgtasks.retries import Backoff, check_backoff

if TYPE_CHECKING:
    from django_bgtasks.tasks import Task

OnLost: TypeAlias = Literal["retry", "fail"]
Missed: TypeAlias = Literal["latest", "skip", "all"]
Overlap: TypeAlias = Literal["allow", "skip"]


class TaskOptions(TypedDict, total=False):
    """The options of ``@background``; see there."""

    name: str
    queue_name: str
    priority: int
    backend: str
    max_attempts: int
    timeout: float | timedelta
    backoff: Backoff
    retry_on: type[BaseException] | Sequence[type[BaseException]]
    no_retry_on: type[BaseException] | Sequence[type[BaseException]]
    on_lost: OnLost
    atomic: bool
    sensitive: str | Sequence[str]
    delay: float | timedelta
    expires: float | timedelta | datetime
    unique: Unique
    unique_until: UniqueUntil
    on_conflict: OnConflict
    store_result: bool
    retention: float | timedelta
    verbose_name: str
    creator: Any
    tags: str | Collection[str]
    metadata: Mapping[str, Any]
    # Of its schedule.
    cron: str
    every: float | timedelta
    phase: float | timedelta
    timezone: str
    start: datetime | str
    end: datetime | str
    jitter: float | timedelta
    missed: Missed
    overlap: Overlap


#: Those that make the task a periodic one, and say when; see ``periodic.parse``.
PERIODIC_OPTIONS = (
    "cron",
    "every",
    "phase",
    "timezone",
    "start",
    "end",
    "jitter",
    "missed",
    "overlap",
)
TASK_OPTIONS = {*TaskOptions.__annotations__, "takes_context"}
#: What a row can say for itself. The rest is looked up in the task when a job ran.
USING_OPTIONS = {
    "priority",
    "queue_name",
    "run_after",
    "backend",
    "max_attempts",
    "timeout",
    "on_lost",
    "delay",
    "expires",
    "unique",
    "unique_until",
    "on_conflict",
    "store_result",
    "retention",
    "verbose_name",
    "creator",
    "tags",
    "metadata",
}


#: What somebody means who uses a word of a call, or of ``using``, elsewhere.
_MEANT = {"schedule": "delay", "run_after": "delay"}


def check_names(where: str, options: Mapping[str, Any], known: set[str]) -> None:
    """Raise UnknownOption for a name that is none of ``known``."""
    for name in options:
        if name not in known:
            raise UnknownOption(where, name, known, _MEANT.get(name, name))


def check_function(function: Any) -> None:
    """Raise InvalidTask for what is no function, though it can be called."""
    if not inspect.isfunction(function):
        raise InvalidTask(
            f"{function!r} cannot be a task, for it is no function. What makes "
            "something else of a function, such as @staticmethod, goes above the "
            "decorator that makes it a task."
        )


def check_options(task: Task[Any, Any]) -> None:
    """Raise InvalidTask for an option of ``task`` that cannot be used."""
    for name, fits, expected in _RULES:
        value = getattr(task, name)
        is_left_open = value is None and name in _MAY_BE_NONE
        if not (is_left_open or fits(value)):
            raise InvalidTask(
                f"{name} of {task.path} is {value!r}; it must be {expected}."
            )
    if task.atomic and inspect.iscoroutinefunction(task.func):
        raise InvalidTask(
            f"atomic of {task.path} is True; it must be False, as for every async "
            "function."
        )
    check_backoff(task.backoff)
    _check_parameters(task, "sensitive", task.sensitive)
    if isinstance(task.unique, tuple):
        _check_parameters(task, "unique", task.unique)
    if task.unique:
        _check_unique(task)


def as_text(option: str, text: Any) -> str:
    """``text`` as a plain ``str``: drivers write enums in ways of their own.

    Raises:
        InvalidTask: it is something else, or PostgreSQL could not hold it.
    """
    if isinstance(text, str) and "\x00" not in text:
        return str.__str__(text)
    raise InvalidTask(f"{option} is {text!r}; it must be text, without NUL.")


def as_priority(priority: Any) -> Any:
    """``priority`` as rows hold it; whether it is in range, Django asks.

    Raises:
        InvalidTask: it is no number.
    """
    if not (_is_number(priority) and abs(priority) < math.inf):
        raise InvalidTask(f"priority is {priority!r}; it must be a whole number.")
    # To Django, 5.0 is one.
    return int(priority) if priority % 1 == 0 else priority


def can_be_addressed(name: str) -> bool:
    """Whether a page of the admin can be that of what is called ``name``.

    Browsers resolve a part of an address that is nothing but dots, and a link of spaces
    cannot be seen.
    """
    return bool(name.replace(".", "").strip())


def as_names(option: str, names: Any) -> tuple[str, ...]:
    """Names of parameters, given as one or as several.

    Raises:
        InvalidTask: that is something else.
    """
    given = (names,) if isinstance(names, str) else names
    if not (
        isinstance(given, Collection) and all(isinstance(name, str) for name in given)
    ):
        raise InvalidTask(
            f"{option} is {names!r}; it must be the name of a parameter, or a list "
            "of names."
        )
    return tuple(given)


def as_unique(unique: Unique) -> Unique:
    """``unique`` in a form that a task, which can be hashed, may hold.

    Raises:
        InvalidTask: it cannot be used.
    """
    if isinstance(unique, bool) or callable(unique):
        return unique
    names = as_names("unique", unique)
    if not names:
        raise InvalidTask(
            "unique names no parameter; True means all arguments, False none."
        )
    return names


def as_exceptions(classes: Any) -> tuple[type[BaseException], ...]:
    """Exception classes, given as one or as several.

    Raises:
        InvalidTask: that is something else.
    """
    given = classes if isinstance(classes, (list, tuple)) else (classes,)
    for one in given:
        if not (isinstance(one, type) and issubclass(one, BaseException)):
            raise InvalidTask(
                f"{classes!r} is no exception class, nor a list of them, as retry_on "
                "and no_retry_on must be."
            )
    return tuple(given)


def _check_parameters(task: Task[Any, Any], option: str, names: Iterable[str]) -> None:
    parameters = task.parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for name in names:
        if name not in parameters:
            raise InvalidTask(
                f"{option} of {task.path} names {name!r}, and that is no parameter of "
                f"its calls.{suggestion(name, parameters)}"
            )


def _check_unique(task: Task[Any, Any]) -> None:
    if isinstance(task.unique_until, str) or task.unique_until is None:
        return
    if task.on_conflict in CHANGES_WAITING:
        raise InvalidTask(
            f"{task.path} is unique for a period, and on_conflict="
            f"{task.on_conflict!r} would have to change a job that is over. Leave "
            "unique_until out, or use on_conflict='skip'."
        )
    if not task.store_result:
        raise InvalidTask(
            f"{task.path} is unique for a period, but store_result=False deletes the "
            "row that would tell. Leave one of them out; retention= keeps rows for "
            "a short time only."
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_delay(value: Any) -> bool:
    return isinstance(value, timedelta) or (_is_number(value) and _is_bounded(value))


def _is_bounded(seconds: float) -> bool:
    try:
        as_timedelta(seconds)
    except (OverflowError, ValueError):
        return False
    return True


def _is_duration(value: Any) -> bool:
    return _is_delay(value) and as_timedelta(value) > timedelta(0)


def _is_age(value: Any) -> bool:
    return _is_duration(value) and as_timedelta(value) <= LONGEST_AGE


def _is_moment(value: Any) -> bool:
    return isinstance(value, datetime) and timezone.is_aware(value) == settings.USE_TZ


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= NAME_LIMIT and "\x00" not in value


def _is_boolean(value: Any) -> bool:
    return isinstance(value, bool)


_MAY_BE_NONE = {
    "max_attempts",
    "timeout",
    "run_after",
    "delay",
    "expires",
    "unique_until",
    "retention",
}
#: Each option with what it must be.
_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    (
        "max_attempts",
        lambda n: type(n) is int and 1 <= n <= MOST_ATTEMPTS,
        f"a whole number of at least 1, and at most {MOST_ATTEMPTS:,}",
    ),
    ("timeout", _is_duration, "seconds or a timedelta, longer than 0"),
    (
        "run_after",
        lambda moment: isinstance(moment, datetime),
        "a datetime; for a delay, use delay=seconds",
    ),
    (
        "run_after",
        lambda moment: settings.USE_TZ or timezone.is_naive(moment),
        "naive, for USE_TZ is off",
    ),
    ("delay", _is_delay, "seconds or a timedelta; for a moment, use run_after="),
    (
        "expires",
        lambda value: _is_duration(value) or isinstance(value, datetime),
        "seconds or a timedelta, longer than 0, or a datetime",
    ),
    (
        "expires",
        lambda value: not isinstance(value, datetime) or _is_moment(value),
        "aware with USE_TZ, and naive without",
    ),
    ("on_lost", get_args(OnLost).__contains__, '"retry" or "fail"'),
    (
        "unique_until",
        lambda value: value in ("finished", "started") or _is_duration(value),
        '"finished", "started", or a period as seconds or a timedelta',
    ),
    (
        "on_conflict",
        ON_CONFLICT.__contains__,
        "one of " + ", ".join(f'"{word}"' for word in ON_CONFLICT),
    ),
    ("store_result", _is_boolean, "True or False"),
    (
        "retention",
        _is_age,
        "seconds or a timedelta, longer than 0 and at most 100 years",
    ),
    ("verbose_name", _is_name, f"text of at most {NAME_LIMIT} characters"),
)
