"""Periodic jobs as they are declared: which task, when, and with what.

In settings (``BGTASKS["PERIODIC"]``), by ``@background(cron=...)``, or as a row that
somebody has made. All three are understood here, by the same rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from django_bgtasks._framework import InvalidTask
from django_bgtasks.arguments import normalize_call
from django_bgtasks.conf import get_settings
from django_bgtasks.exceptions import (
    InvalidSchedule,
    NotJSON,
    as_timedelta,
    likely,
    suggestion,
)
from django_bgtasks.options import PERIODIC_OPTIONS, Missed, Overlap, can_be_addressed
from django_bgtasks.rules import (
    LONGEST_INTERVAL,
    ZERO,
    Rule,
    first_moment_of,
    zone_named,
)
from django_bgtasks.tasks import (
    PATH_LIMIT,
    QUEUE_LIMIT,
    Task,
    find_task,
    registered_tasks,
)

Source: TypeAlias = Literal["settings", "code"]

NAME_LIMIT = 255
#: Characters that a row holds of other texts.
_LIMITS = {"task": PATH_LIMIT, "queue_name": QUEUE_LIMIT}
_PRIORITIES = range(-100, 101)

#: Options of which one says when. A setting that gives one replaces what code gave.
_KINDS = {"cron", "every", "at", "phase"}
#: What is said in a decorator, and what a task has no need of there.
_OPTIONS = {
    *PERIODIC_OPTIONS,
    *("task", "at", "args", "kwargs", "queue_name", "priority"),
}


@dataclass(frozen=True, kw_only=True)
class Periodic:
    """A periodic job.

    Args:
        name: what its schedule is called.
        task: what rows call its task.
        rule: when it is due.
        args: the arguments of each job, as JSON.
        kwargs: its keyword arguments, as JSON.
        queue_name: the queue of its jobs; empty: the task's.
        priority: their priority; None: the task's.
        jitter: each job waits for a part of this, the same one whoever asks.
        missed: which of several ticks that nobody saw in time get a job.
        overlap: whether a tick gets one while the job of the last is not finished.
    """

    name: str
    task: str
    rule: Rule
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    queue_name: str = ""
    priority: int | None = None
    jitter: timedelta = ZERO
    missed: Missed = "latest"
    overlap: Overlap = "allow"

    def __post_init__(self) -> None:
        if len(self.name) > NAME_LIMIT or not can_be_addressed(self.name):
            raise InvalidSchedule(
                "name",
                f"is {self.name!r}; it must have 1 to {NAME_LIMIT} characters, and not "
                "only dots and spaces",
            )
        if not ZERO <= self.jitter <= LONGEST_INTERVAL:
            raise InvalidSchedule(
                "jitter", f"is {self.jitter}; it must be from 0 to 100 years"
            )
        for option, limit in _LIMITS.items():
            if len(getattr(self, option)) > limit:
                raise InvalidSchedule(option, f"is longer than {limit} characters")
        if self.priority is not None and self.priority not in _PRIORITIES:
            raise InvalidSchedule(
                "priority",
                f"is {self.priority!r}; it must be a whole number from -100 to 100",
            )
        _check_choice("missed", self.missed, get_args(Missed))
        _check_choice("overlap", self.overlap, get_args(Overlap))
        if not isinstance(self.args, (list, tuple)):
            raise InvalidSchedule("args", f"is {self.args!r}; it must be a list")
        if not isinstance(self.kwargs, dict):
            raise InvalidSchedule("kwargs", f"is {self.kwargs!r}; it must be a dict")

    def bound_task(self) -> Task[Any, Any]:
        """The task with the options of its jobs, if it can be called so.

        Raises:
            InvalidSchedule: no such task is registered here, or it takes no such
                arguments, queue or priority.
        """
        task = find_task(self.task)
        if task is None:
            known = [task.path for task in registered_tasks()]
            raise InvalidSchedule(
                "task",
                f"is {self.task!r}, and no such task is registered here. A task is "
                "known when its module is the tasks.py of an installed app or is "
                f"listed in BGTASKS['IMPORTS'].{likely(self.task, known)}",
            )
        try:
            task.check_arguments(self.args, self.kwargs)
            normalize_call(self.args, self.kwargs)
        except (TypeError, NotJSON) as error:
            wrong = "kwargs" if self.kwargs else "args"
            raise InvalidSchedule(wrong, f"cannot be used: {error}") from None
        options = {"queue_name": self.queue_name or None, "priority": self.priority}
        for option, value in options.items():
            if value is None:
                continue
            try:
                task = task.using(**{option: value})
            except (InvalidTask, TypeError) as error:
                raise InvalidSchedule(option, f"cannot be used: {error}") from None
        try:
            # What the settings of its backend allow may have changed since.
            task.get_backend().validate_task(task)
        except InvalidTask as error:
            raise InvalidSchedule("task", f"cannot be used: {error}") from None
        return task

    def wait_after(self, tick: datetime) -> timedelta:
        """The share of the jitter that the job of ``tick`` waits for."""
        if not self.jitter:
            return ZERO
        # Not by chance: whoever computes it again, gets the same.
        return self.jitter * Random(f"{self.name} {tick.timestamp()}").random()  # noqa: S311 (spreads load, hides nothing)


class Declared(NamedTuple):
    """A periodic job that settings or code declare, as it stands there.

    Args:
        name: of its schedule.
        source: where it is declared.
        options: what is said of it.
    """

    name: str
    source: Source
    options: Any

    def parse(self) -> Periodic:
        """What is meant.

        Raises:
            InvalidSchedule: something cannot be understood.
        """
        return parse(self.name, self.options)

    @property
    def place(self) -> str:
        """Where it is declared, in words."""
        if self.source == "settings":
            return f"BGTASKS['PERIODIC'][{self.name!r}]"
        return f"@background of {self.name}"


def declared() -> Iterator[Declared]:
    """All that settings and code declare, each name once.

    What settings say under the name of a task with a schedule of its own changes that
    one: they win, option by option, and None takes it away.
    """
    by_settings = get_settings().periodic
    by_code = {
        task.path: {**task.periodic, "task": task.path}
        for task in registered_tasks()
        if task.periodic
    }
    for name, options in by_code.items():
        if name not in by_settings:
            yield Declared(name, "code", options)
    for name, given in by_settings.items():
        options = given
        if name in by_code:
            if given is None:
                continue
            options = _changed(by_code[name], given)
        yield Declared(name, "settings", options)


def names_alike() -> Iterator[tuple[Declared, str]]:
    """Those whose names differ from another's by case alone, and the other's.

    Some databases take them for the same.
    """
    seen: dict[str, str] = {}
    for one in declared():
        other = seen.setdefault(one.name.casefold(), one.name)
        if other != one.name:
            yield one, other


def _changed(before: Mapping[str, Any], changes: Any) -> Any:
    if not isinstance(changes, Mapping):
        return changes
    if _KINDS & changes.keys():
        before = {key: value for key, value in before.items() if key not in _KINDS}
    return {**before, **changes}


def parse(name: str, options: Any) -> Periodic:
    """A periodic job from the options of a setting or a decorator.

    Args:
        name: of its schedule.
        options: durations are seconds or timedeltas; moments datetimes or ISO 8601
            text, in the schedule's time zone where they name none.

    Raises:
        InvalidSchedule: something cannot be understood.
    """
    if not isinstance(options, Mapping):
        raise InvalidSchedule("the schedule", f"is {options!r}; it must be a dict")
    for key in options:
        if key not in _OPTIONS:
            raise InvalidSchedule(
                str(key), f"is no option of schedules.{suggestion(str(key), _OPTIONS)}"
            )
    if not isinstance(options.get("task"), (str, Task)):
        raise InvalidSchedule("task", "is missing; give its dotted path")
    given = {key: value for key, value in options.items() if value is not None}
    task = given.pop("task")
    rule = Rule(
        cron=_text(given, "cron"),
        every=_duration(given, "every"),
        phase=_duration(given, "phase") or ZERO,
        timezone=_text(given, "timezone"),
        **{key: _moment(given, key) for key in ("at", "start", "end")},
    )
    return Periodic(
        name=name,
        task=task if isinstance(task, str) else task.path,
        rule=rule,
        args=given.get("args", []),
        kwargs=given.get("kwargs", {}),
        queue_name=_text(given, "queue_name"),
        priority=given.get("priority"),
        jitter=_duration(given, "jitter") or ZERO,
        missed=given.get("missed", "latest"),
        overlap=given.get("overlap", "allow"),
    )


def _text(options: Mapping[str, Any], key: str) -> str:
    value = options.get(key, "")
    if not isinstance(value, str):
        raise InvalidSchedule(key, f"is {value!r}; it must be text")
    return value


def _duration(options: Mapping[str, Any], key: str) -> timedelta | None:
    value = options.get(key)
    if value is None or isinstance(value, timedelta):
        return value
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return as_timedelta(value)
    except (OverflowError, ValueError):
        pass  # infinite, or no number at all
    raise InvalidSchedule(key, f"is {value!r}; it must be seconds or a timedelta")


def _moment(options: Mapping[str, Any], key: str) -> datetime | None:
    value = options.get(key)
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = value
    if moment is None:
        return None
    if not isinstance(moment, datetime):
        raise InvalidSchedule(
            key,
            f"is {value!r}; it must be a datetime, or text such as '2030-01-31 12:00'",
        )
    if moment.tzinfo is not None:
        return moment
    zone = zone_named(_text(options, "timezone"))
    try:
        return first_moment_of(moment, zone)
    except OverflowError:
        raise InvalidSchedule(key, f"is {value!r}; no calendar has that") from None


def _check_choice(key: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InvalidSchedule(
            key, f"is {value!r}; it must be one of {', '.join(map(repr, choices))}"
        )
