"""Tasks: ``@background``, the Task it makes, and the registry of all of them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypedDict,
    TypeVar,
    Unpack,
    get_args,
    overload,
)

from django.conf import settings
from django.utils import timezone

from django_bgtasks import timing
from django_bgtasks._framework import (
    DEFAULT_TASK_BACKEND_ALIAS,
    DEFAULT_TASK_PRIORITY,
    DEFAULT_TASK_QUEUE_NAME,
    BaseTaskBackend,
    InvalidTask,
    TaskResultStatus,
)
from django_bgtasks._framework import Task as BaseTask
from django_bgtasks.context import TaskContext
from django_bgtasks.exceptions import (
    DuplicateTask,
    Retry,
    TimeLimitExceeded,
    UnknownOption,
    WorkerLost,
    as_timedelta,
    suggestion,
)
from django_bgtasks.redaction import (
    EVERYTHING,
    Redaction,
    Secrets,
    marked_by_django,
)
from django_bgtasks.results import TaskResult
from django_bgtasks.retries import Backoff, RetryPolicy, check_backoff, delay_after

_POSITIONAL = {
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
}

P = ParamSpec("P")
R = TypeVar("R")

#: Longest task path and queue name that a row holds.
PATH_LIMIT = 255
QUEUE_LIMIT = 100

OnLost: TypeAlias = Literal["retry", "fail"]
Missed: TypeAlias = Literal["latest", "skip", "all"]
Overlap: TypeAlias = Literal["allow", "skip"]
_ON_LOST = get_args(OnLost)

#: Call keywords that steer the job instead of reaching the function.
CALL_KEYWORDS = ("schedule", "queue", "priority")

if TYPE_CHECKING:

    class _Base(BaseTask[P, R]):
        # What they return comes from our backend.
        def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> TaskResult[P, R]: ...
        async def aenqueue(
            self, *args: P.args, **kwargs: P.kwargs
        ) -> TaskResult[P, R]: ...
        def get_result(self, result_id: str) -> TaskResult[P, R]: ...
        async def aget_result(self, result_id: str) -> TaskResult[P, R]: ...

else:
    # Django's own Task is not generic at run time; the backport's is.
    class _Base(BaseTask, Generic[P, R]):
        __slots__ = ()


@dataclass(frozen=True, kw_only=True)
class Task(_Base[P, R]):
    """A function that can be enqueued, and how its jobs shall be run.

    Immutable; ``using()`` returns a changed copy. Besides Django's attributes
    (https://docs.djangoproject.com/en/stable/ref/tasks/) it has:

    Args:
        path: what rows call this task: the dotted path of the function, unless
            ``@background(name=...)`` says otherwise.
        max_attempts: attempts a job gets; None: ``BGTASKS["MAX_ATTEMPTS"]``.
        timeout: seconds or a timedelta an attempt may take; None:
            ``BGTASKS["TIMEOUT"]``.
        backoff: the wait before another attempt, see ``retries.delay_after``.
        retry_on: exception classes after which another attempt makes sense.
        no_retry_on: exception classes after which it does not, even if they are
            among ``retry_on``.
        on_lost: "retry" or "fail" a job whose worker died while it ran it.
        atomic: whether the function runs in the transaction that records its success.
        sensitive: names of parameters whose values are not shown.
        periodic: the options of the task's own schedule; empty: it has none.
    """

    path: str = ""
    max_attempts: int | None = None
    timeout: float | timedelta | None = None
    backoff: Backoff = field(default_factory=RetryPolicy)
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    no_retry_on: tuple[type[BaseException], ...] = ()
    on_lost: OnLost = "retry"
    atomic: bool = False
    sensitive: tuple[str, ...] = ()
    periodic: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not self.path:
            object.__setattr__(self, "path", self.module_path)
        for name in ("retry_on", "no_retry_on"):
            object.__setattr__(self, name, _as_exceptions(getattr(self, name)))
        object.__setattr__(self, "sensitive", _as_names(self.sensitive))
        self._check_options()
        if isinstance(self.backoff, list):
            # Tasks can be hashed, as Django's can.
            object.__setattr__(self, "backoff", tuple(self.backoff))
        super().__post_init__()
        # Lets help(), Sphinx and inspect see the function behind the task.
        self.__dict__.update(
            __doc__=self.func.__doc__,
            __name__=self.func.__name__,
            __wrapped__=self.func,
        )
        _register(self)

    def _check_options(self) -> None:
        self._check(
            "max_attempts",
            lambda n: type(n) is int and n >= 1,
            "a whole number of at least 1",
        )
        self._check("timeout", _is_duration, "seconds or a timedelta, longer than 0")
        self._check(
            "run_after",
            lambda moment: isinstance(moment, datetime),
            "a datetime; for a delay, call the task with schedule=seconds",
        )
        self._check(
            "run_after",
            lambda moment: settings.USE_TZ or timezone.is_naive(moment),
            "naive, for USE_TZ is off",
        )
        self._check("atomic", self._can_be_atomic, "False, as for every async function")
        self._check("on_lost", _ON_LOST.__contains__, '"retry" or "fail"')
        check_backoff(self.backoff)
        self._check_sensitive()

    def _check_sensitive(self) -> None:
        if not self.sensitive:
            return
        parameters = self._signature.parameters
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return
        for name in self.sensitive:
            if name not in parameters:
                raise InvalidTask(
                    f"sensitive of {self.path} names {name!r}, and that is no "
                    f"parameter of its calls.{suggestion(name, parameters)}"
                )

    def _can_be_atomic(self, wanted: bool) -> bool:
        return not (wanted and inspect.iscoroutinefunction(self.func))

    def _check(self, name: str, fits: Callable[[Any], bool], expected: str) -> None:
        value = getattr(self, name)
        if value is not None and not fits(value):
            raise InvalidTask(
                f"{name} of {self.path} is {value!r}; it must be {expected}."
            )

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> TaskResult[P, R]: ...
    @overload
    def __call__(
        self, *args: Any, schedule: float | timedelta | datetime, **kwargs: Any
    ) -> TaskResult[P, R]: ...
    @overload
    def __call__(self, *args: Any, queue: str, **kwargs: Any) -> TaskResult[P, R]: ...
    @overload
    def __call__(
        self, *args: Any, priority: int, **kwargs: Any
    ) -> TaskResult[P, R]: ...
    def __call__(self, *args: Any, **kwargs: Any) -> TaskResult[P, R]:
        """Enqueue a job: ``send(42)``, ``send(42, schedule=60, priority=5)``.

        Takes the function's own arguments, and these keywords beside them:
        ``schedule`` (seconds from now, a timedelta, or a datetime), ``queue`` (the
        name of another queue) and ``priority`` (-100 to 100, higher runs first).

        Raises:
            TypeError: the arguments do not fit the function.
            NotJSON: an argument cannot be JSON.
            InvalidTask: queue, priority or schedule cannot be used.
        """
        schedule, queue, priority = (kwargs.pop(key, None) for key in CALL_KEYWORDS)
        task = self
        if schedule is not None or queue is not None or priority is not None:
            task = self.using(
                run_after=None if schedule is None else _moment(schedule),
                queue_name=queue,
                priority=priority,
            )
        return task.enqueue(*args, **kwargs)

    def using(self, **options: Any) -> Task[P, R]:
        """A copy with other options; None leaves an option as it is.

        Args:
            options: ``priority``, ``queue_name``, ``run_after`` (a datetime),
                ``backend``, ``max_attempts``, ``timeout`` (seconds or a timedelta),
                ``on_lost``.

        Raises:
            UnknownOption: an option does not exist.
            InvalidTask: a value cannot be used.
        """
        _check_names(options, _USING_OPTIONS)
        changes = {name: value for name, value in options.items() if value is not None}
        return replace(self, **changes)

    def s(self, *args: P.args, **kwargs: P.kwargs) -> Signature[P, R]:
        """This task with its arguments, not yet enqueued; see ``enqueue_many``."""
        return Signature(self, args, kwargs)

    def now(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now, without a row, and return its value.

        A task with ``takes_context=True`` is given a context of its own.
        """
        if not self.takes_context:
            return self.call(*args, **kwargs)
        context = TaskContext(task_result=self._inline_result(args, kwargs))
        return self.call(context, *args, **kwargs)  # type: ignore[arg-type]  # P leaves the context out

    def get_backend(self) -> BaseTaskBackend:
        """The database backend, whether or not ``TASKS`` configures one."""
        # The one door from definitions to rows: the backend needs this module.
        from django_bgtasks.backend import backend_for  # noqa: PLC0415 (see above)

        return backend_for(self.backend)

    def check_arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise TypeError if the function cannot be called with these arguments."""
        if len(args) in self._plain_counts and not kwargs:
            return
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.path}() cannot be called so: {error}.") from None

    def retry_delay(
        self, error: BaseException, task_result: TaskResult[Any, Any]
    ) -> timedelta | None:
        """How long to wait before another attempt after ``error``; None: give up."""
        worth_it = (*self.retry_on, Retry, TimeLimitExceeded, WorkerLost)
        if isinstance(error, self.no_retry_on) or not isinstance(error, worth_it):
            return None
        return delay_after(self.backoff, error, task_result)

    @cached_property
    def reserved_parameters(self) -> list[str]:
        """Parameters of the function that a call would take for itself."""
        return [name for name in CALL_KEYWORDS if name in self._signature.parameters]

    @cached_property
    def redaction(self) -> Redaction | None:
        """What must not be seen of a call, if there is anything.

        That is what ``sensitive`` names, and Django's ``sensitive_variables``.
        """
        marked = marked_by_django(self.func)
        if marked is not None and not (marked or self.sensitive):
            return None
        known = self._signature.parameters
        # The others are variables of the function.
        marked = known if marked is None else [name for name in marked if name in known]
        names = {*self.sensitive, *marked}
        return Redaction(names, known.values()) if names else None

    @cached_property
    def is_async(self) -> bool:
        """Whether the function has to be awaited."""
        return inspect.iscoroutinefunction(self.func)

    @cached_property
    def _plain_counts(self) -> range:
        """Numbers of arguments that need no further check, if there are no keywords."""
        parameters = self._signature.parameters.values()
        if any(p.kind not in _POSITIONAL for p in parameters):
            return range(0)
        required = sum(p.default is inspect.Parameter.empty for p in parameters)
        return range(required, len(parameters) + 1)

    @cached_property
    def _signature(self) -> inspect.Signature:
        signature = _call_signature(self.func)
        if not self.takes_context:
            return signature
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    def _inline_result(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> TaskResult[Any, Any]:
        now = timezone.now()
        return TaskResult(
            task=self,
            id="inline",
            status=TaskResultStatus.RUNNING,
            enqueued_at=now,
            started_at=now,
            finished_at=None,
            last_attempted_at=now,
            args=list(args),
            kwargs=dict(kwargs),
            backend=self.backend,
            errors=[],
            worker_ids=["inline"],
        )


@dataclass(frozen=True, slots=True)
class Signature(Generic[P, R]):
    """A task with its arguments, not yet enqueued: ``send.s(42)``.

    Args:
        task: what to run.
        args: its positional arguments.
        kwargs: its keyword arguments.
    """

    task: Task[P, R]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]

    def using(self, **options: Any) -> Signature[P, R]:
        """A copy whose task has other options; see ``Task.using``."""
        return replace(self, task=self.task.using(**options))

    def enqueue(self) -> TaskResult[P, R]:
        """Enqueue it alone; raises what ``Task.enqueue`` does."""
        return self.task.enqueue(*self.args, **self.kwargs)


class RowOptions(Protocol):
    """What a job row says of its task's options."""

    queue: str
    priority: int
    run_after: datetime | None
    backend: str


class Call(Protocol):
    """What a job row says of its call."""

    task: str
    args: list[Any]
    kwargs: dict[str, Any]


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
_TASK_OPTIONS = {*TaskOptions.__annotations__, "takes_context"}
#: What a row can say for itself. The rest is looked up in the task when a job ran.
_USING_OPTIONS = {
    "priority",
    "queue_name",
    "run_after",
    "backend",
    "max_attempts",
    "timeout",
    "on_lost",
}


@overload
def background(function: Callable[P, R], /) -> Task[P, R]: ...
@overload
def background(
    *, takes_context: Literal[True], **options: Unpack[TaskOptions]
) -> Callable[[Callable[Concatenate[TaskContext, P], R]], Task[P, R]]: ...
@overload
def background(
    *, takes_context: Literal[False] = False, **options: Unpack[TaskOptions]
) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def background(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a task: calling it enqueues a job instead of running it.

    Args:
        function: a function at module level, plain or ``async``.
        name: what rows call the task, so that the function may move or be renamed;
            default its dotted path.
        queue_name: the queue of its jobs; default "default".
        priority: -100 to 100, higher runs first; default 0.
        max_attempts: attempts before a job is FAILED; default
            ``BGTASKS["MAX_ATTEMPTS"]``, which is 3.
        timeout: seconds or a timedelta one attempt may take; default
            ``BGTASKS["TIMEOUT"]``, which is no limit.
        backoff: the wait before another attempt: seconds, a timedelta, a list of
            them, a ``RetryPolicy``, or a callable ``(exception, task_result)``
            that returns one of the first two or None to give up; default
            ``RetryPolicy()``: 5 s, doubling up to an hour, with full jitter.
        retry_on: exception classes to try again after; default ``Exception``.
        no_retry_on: exception classes to give up after.
        on_lost: what becomes of a job whose worker died while it ran it: "retry", as
            after an error, or "fail", for work that must not be begun twice; default
            "retry".
        atomic: True runs the function in the transaction that records its success:
            what it writes to the database that holds the jobs happens exactly once,
            whatever dies. Not for ``async`` functions. On SQLite nobody else can write
            meanwhile.
        takes_context: True passes a ``TaskContext`` as the first argument, which
            must be named ``context``.
        backend: an alias of ``TASKS``; default "default".
        sensitive: names of parameters whose values are not shown.
        cron, every, phase, timezone, start, end, jitter, missed, overlap: when jobs
            of the task are enqueued by the scheduler, without arguments; see
            ``rules.Rule`` and ``periodic.Periodic``.

    Returns:
        The task. Calling it enqueues, ``.now()`` runs inline, ``.using()`` changes
        options, and it has all else that Django's tasks have.

    Raises:
        UnknownOption: an option does not exist.
        InvalidTask: the function or an option cannot be used.
        DuplicateTask: another function has this name already.
    """
    _check_names(options, _TASK_OPTIONS)
    if function is not None:
        return _make_task(function, options)
    return lambda function: _make_task(function, options)


def _make_task(function: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    if not callable(function):
        raise TypeError(
            f"@background was given {function!r}, which is no function. Options are "
            "keywords, such as @background(queue_name='mail')."
        )
    options = dict(options)
    periodic = {key: options.pop(key) for key in PERIODIC_OPTIONS if key in options}
    return Task(
        func=function,
        path=options.pop("name", ""),
        periodic=periodic,
        # All of them, for in Django 6.0 they have no defaults.
        **{
            "priority": DEFAULT_TASK_PRIORITY,
            "queue_name": DEFAULT_TASK_QUEUE_NAME,
            "backend": DEFAULT_TASK_BACKEND_ALIAS,
            "run_after": None,
            **options,
        },
    )


def task_path(task: BaseTask[Any, Any]) -> str:
    """What rows call ``task``, ours or Django's plain one."""
    return task.path if isinstance(task, Task) else task.module_path


def adopt(task: BaseTask[Any, Any]) -> Task[Any, Any]:
    """``task`` with our options at their defaults, if it is Django's plain Task.

    Such a task was declared for another backend and sent to ours by
    ``using(backend=...)``.
    """
    if isinstance(task, Task):
        return task
    return Task(**{f.name: getattr(task, f.name) for f in fields(task)})


def with_row_options(task: Task[Any, Any], row: RowOptions) -> Task[Any, Any]:
    """``task`` with queue, priority, time and backend as a row has them.

    Not ``replace()``, which validates: what a row says may have become invalid
    since, and must still be shown.
    """
    copy = object.__new__(type(task))
    options = {f.name: getattr(task, f.name) for f in fields(task)} | {
        "queue_name": row.queue,
        "priority": row.priority,
        "run_after": row.run_after,
        "backend": row.backend,
    }
    for name, value in options.items():
        object.__setattr__(copy, name, value)
    return copy


_registry: dict[str, Task[Any, Any]] = {}


def registered_tasks() -> Iterator[Task[Any, Any]]:
    """Every task declared so far in this process."""
    return iter(list(_registry.values()))


def find_task(path: str) -> Task[Any, Any] | None:
    """The task that rows call ``path``, or None. Imports nothing."""
    return _registry.get(path) or _find_plain_task(path)


def redaction_of(path: str) -> Redaction | None:
    """What must not be seen of the calls of the task that rows call ``path``.

    Of a task that is not known here, everything.
    """
    task = find_task(path)
    return EVERYTHING if task is None else task.redaction


def secrets_of(job: Call) -> Secrets | None:
    """What of a job's arguments must not stand in any text, if there is anything."""
    redaction = redaction_of(job.task)
    return None if redaction is None else redaction.secrets(job.args, job.kwargs)


def _find_plain_task(path: str) -> Task[Any, Any] | None:
    # Django's own Tasks do not register here. One is found where it was declared,
    # in a module that is loaded already: a row never makes a worker import code.
    module_name, _, name = path.rpartition(".")
    # vars(), for a module's own __getattr__ may import.
    candidate = vars(sys.modules.get(module_name, object)).get(name)
    if isinstance(candidate, BaseTask) and candidate.module_path == path:
        return adopt(candidate)
    return None


def _register(task: Task[Any, Any]) -> None:
    known = _registry.get(task.path)
    if known is None or (known.module_path == task.module_path):
        # A copy made by using() must not replace what was declared; a function
        # that was declared again (a reloaded module) must.
        if known is None or known.func is not task.func:
            _registry[task.path] = task
        return
    raise DuplicateTask(task.path, known.module_path, task.module_path)


def _call_signature(function: Callable[..., Any]) -> inspect.Signature:
    """What may be passed to ``function``, which a decorator may have wrapped.

    A wrapper that takes anything hands it on, so what it wraps decides; one that
    names its parameters may add or remove some.
    """
    own = inspect.signature(function, follow_wrapped=False)
    takes_anything = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    if {parameter.kind for parameter in own.parameters.values()} == takes_anything:
        return inspect.signature(function)
    return own


def _check_names(options: Mapping[str, Any], known: set[str]) -> None:
    for name in options:
        if name not in known:
            raise UnknownOption(name, known)


def _is_duration(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float, timedelta)):
        return False
    return as_timedelta(value) > timedelta(0)


def _as_exceptions(classes: Any) -> tuple[type[BaseException], ...]:
    given = classes if isinstance(classes, (list, tuple)) else (classes,)
    for one in given:
        if not (isinstance(one, type) and issubclass(one, BaseException)):
            raise InvalidTask(
                f"{classes!r} is no exception class, nor a list of them, as retry_on "
                "and no_retry_on must be."
            )
    return tuple(given)


def _as_names(names: Any) -> tuple[str, ...]:
    given = (names,) if isinstance(names, str) else names
    if not (
        isinstance(given, Collection) and all(isinstance(name, str) for name in given)
    ):
        raise InvalidTask(
            f"sensitive is {names!r}; it must be the name of a parameter, or a list "
            "of names."
        )
    return tuple(given)


def _moment(schedule: float | timedelta | datetime) -> datetime:
    if isinstance(schedule, datetime):
        return schedule
    if isinstance(schedule, (int, float, timedelta)):
        return timing.now() + as_timedelta(schedule)
    raise TypeError(
        f"schedule is {schedule!r}; it must be seconds, a timedelta or a datetime."
    )
