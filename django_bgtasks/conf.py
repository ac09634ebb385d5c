"""The ``BGTASKS`` setting as one frozen object.

Read when first needed, never at import, and rebuilt when the setting changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import Any, TypeVar

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.db import connections
from django.dispatch import receiver
from django.utils.module_loading import import_string

from django_bgtasks.exceptions import InvalidSetting, UnknownSetting, suggestion

T = TypeVar("T")

DEFAULT_RETENTION: Mapping[str, timedelta | None] = {
    "SUCCESSFUL": timedelta(days=1),
    "FAILED": timedelta(days=14),
    "CANCELLED": timedelta(days=1),
}

#: Characters of a token: shorter ones can be guessed.
TOKEN_LENGTH = 20

#: A row has no room for more.
MOST_ATTEMPTS = 2**31 - 1

#: Further back there may be no dates to compare with.
LONGEST_AGE = timedelta(days=36_500)


def _alias(key: str, value: Any) -> str | None:
    if value is None:
        return None
    if value in connections:
        return str(value)
    known = ", ".join(map(repr, connections))
    raise InvalidSetting(key, value, f"an alias of DATABASES: {known}")


def _positive_integer(key: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise InvalidSetting(key, value, "a whole number of at least 1")


def _attempts(key: str, value: Any) -> int:
    if _positive_integer(key, value) > MOST_ATTEMPTS:
        raise InvalidSetting(key, value, f"at most {MOST_ATTEMPTS:,}")
    return int(value)


def _duration(key: str, value: Any) -> timedelta:
    if isinstance(value, timedelta):
        duration = value
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        duration = timedelta(seconds=value)
    else:
        raise InvalidSetting(key, value, "a number of seconds or a timedelta")
    if duration <= timedelta(0):
        raise InvalidSetting(key, value, "longer than zero")
    return duration


def _optional_duration(key: str, value: Any) -> timedelta | None:
    return None if value is None else _duration(key, value)


def _yes_or_no(key: str, value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise InvalidSetting(key, value, "True, False or None")


def _dotted_path(key: str, value: Any) -> str | None:
    # What it names is looked at when it is imported, for which apps must be ready.
    if value is None or (isinstance(value, str) and "." in value):
        return value
    raise InvalidSetting(key, value, "None or the dotted path of a class")


def _age(key: str, value: Any) -> timedelta | None:
    age = _optional_duration(key, value)
    if age is not None and age > LONGEST_AGE:
        raise InvalidSetting(key, value, "at most 100 years; None keeps for ever")
    return age


def _dotted_names(key: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value):
        return tuple(value)
    raise InvalidSetting(key, value, "a list of dotted names")


def _tokens(key: str, value: Any) -> tuple[str, ...]:
    given = (value,) if isinstance(value, str) else value
    if value is None:
        return ()
    if isinstance(given, (list, tuple)) and all(map(_is_token, given)):
        return tuple(given)
    # A secret, even one that is too short, has no place in a log.
    raise InvalidSetting(
        key,
        "*" * len(value) if isinstance(value, str) else type(value),
        f"a text of at least {TOKEN_LENGTH} characters without spaces, or a list of "
        "such texts; python -c 'import secrets; print(secrets.token_urlsafe())' makes "
        "one",
    )


def _is_token(value: Any) -> bool:
    return (
        isinstance(value, str)
        and len(value) >= TOKEN_LENGTH
        and value.isascii()
        and value.isprintable()
        and " " not in value
    )


def _health(key: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidSetting(key, value, "a dict of thresholds by their names")
    for name in value:
        if name not in _THRESHOLDS:
            known = suggestion(str(name), _THRESHOLDS)
            raise InvalidSetting(key, name, f"keyed by names of thresholds.{known}")
    return {
        name: None if most is None else _THRESHOLDS[name](f"{key}.{name}", most)
        for name, most in value.items()
    }


def _whole_number(key: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise InvalidSetting(key, value, "None or a whole number of at least 0")


#: Those of ``store.health.Thresholds``.
_THRESHOLDS: Mapping[str, Callable[[str, Any], Any]] = {
    "max_age": _duration,
    "max_waiting": _whole_number,
    "max_failed": _whole_number,
    "min_workers": _whole_number,
}


def _periodic(key: str, value: Any) -> Mapping[str, Any]:
    # What each says is for the system checks, which can name all that is wrong.
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return value
    raise InvalidSetting(key, value, "a dict of schedules by their names")


def _retention(key: str, value: Any) -> Mapping[str, timedelta | None]:
    if not isinstance(value, Mapping):
        raise InvalidSetting(key, value, "a dict of ages by status")
    for status in value:
        if status not in DEFAULT_RETENTION:
            raise InvalidSetting(
                key, status, f"keyed by {', '.join(DEFAULT_RETENTION)}"
            )
    given = {status: _age(f"{key}.{status}", age) for status, age in value.items()}
    return {**DEFAULT_RETENTION, **given}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the project says in ``BGTASKS``; each field is a key in upper case."""

    #: The alias of the database that holds the jobs, for ``routers.JobsRouter``; None:
    #: where the project's other routers say, which is "default" without any.
    database: str | None = None
    #: Attempts a job gets before it is FAILED, unless its task says otherwise.
    max_attempts: int = 3
    #: Longest an attempt may run, in seconds or as a timedelta; None: no limit.
    timeout: timedelta | None = None
    #: Jobs that one worker process runs at the same time.
    threads: int = 4
    #: Worker processes that ``run_tasks`` starts.
    processes: int = 1
    #: How often an idle worker looks for due jobs, in seconds or as a timedelta.
    poll_interval: timedelta = timedelta(seconds=0.5)
    #: Whether workers, and those who wait for a job's end, wait for NOTIFY on
    #: PostgreSQL; None: unless a pooler such as PgBouncer, which may not pass it on,
    #: stands between.
    listen: bool | None = None
    #: How long a stopping worker waits for what is running.
    shutdown_grace: timedelta = timedelta(seconds=30)
    #: How long a job that was interrupted, at its time limit or since somebody has
    #: cancelled it, may go on before its process is killed.
    interrupt_grace: timedelta = timedelta(seconds=10)
    #: How long a worker may be silent until it counts as dead. Workers beat four times
    #: as often.
    heartbeat_timeout: timedelta = timedelta(seconds=45)
    #: How long a job waits for a worker that knows its task before it is FAILED.
    unknown_task_grace: timedelta = timedelta(hours=1)
    #: How long finished jobs are kept, by status; None keeps them for ever.
    retention: Mapping[str, timedelta | None] = field(
        default_factory=lambda: DEFAULT_RETENTION
    )
    #: Periodic jobs: the options of their schedules by name.
    periodic: Mapping[str, Any] = field(default_factory=dict)
    #: Dotted paths of classes that wrap enqueueings and attempts, the outermost first.
    middleware: tuple[str, ...] = ()
    #: The class that makes JSON of what JSON has not; None: nothing does.
    encoder: str | None = None
    #: Who says one of these may read health and metrics; none: nobody may.
    token: tuple[str, ...] = field(default=(), repr=False)
    #: From when on all is not well, by the names of ``store.health.Thresholds``.
    health: Mapping[str, Any] = field(default_factory=dict)
    #: Modules with tasks, besides the ``tasks`` module of each installed app.
    imports: tuple[str, ...] = ()


_PARSERS: Mapping[str, Callable[[str, Any], Any]] = {
    "DATABASE": _alias,
    "MAX_ATTEMPTS": _attempts,
    "TIMEOUT": _optional_duration,
    "THREADS": _positive_integer,
    "PROCESSES": _positive_integer,
    "POLL_INTERVAL": _duration,
    "LISTEN": _yes_or_no,
    "SHUTDOWN_GRACE": _duration,
    "INTERRUPT_GRACE": _duration,
    "HEARTBEAT_TIMEOUT": _duration,
    "UNKNOWN_TASK_GRACE": _duration,
    "RETENTION": _retention,
    "PERIODIC": _periodic,
    "MIDDLEWARE": _dotted_names,
    "ENCODER": _dotted_path,
    "TOKEN": _tokens,
    "HEALTH": _health,
    "IMPORTS": _dotted_names,
}


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The project's settings, checked.

    Raises:
        UnknownSetting: a key does not exist (the message suggests the right one).
        InvalidSetting: a value has the wrong type or range.
    """
    given = getattr(django_settings, "BGTASKS", {})
    if not isinstance(given, Mapping):
        raise InvalidSetting("BGTASKS", given, "a dict")
    for key in given:
        if key not in _PARSERS:
            raise UnknownSetting(str(key), _PARSERS)
    return Settings(
        **{key.lower(): _PARSERS[key](key, value) for key, value in given.items()}
    )


def import_class(key: str, path: str, base: type[T]) -> type[T]:
    """The class that a setting names.

    Args:
        key: of the setting.
        path: the dotted path of the class.
        base: what it must be a subclass of.

    Raises:
        InvalidSetting: there is no such class, or it is no such subclass.
    """
    try:
        found = import_string(path)
    except ImportError as error:
        raise InvalidSetting(key, path, f"importable ({error})") from error
    if isinstance(found, type) and issubclass(found, base):
        return found
    raise InvalidSetting(key, path, f"a subclass of {base.__module__}.{base.__name__}")


@receiver(setting_changed)
def _forget_settings(*, setting: str, **kwargs: Any) -> None:
    if setting == "BGTASKS":
        get_settings.cache_clear()
