"""Tasks: ``@background``, the Task it makes, and the registry of all of them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from functools import cached_property
from importlib import import_module
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    TypeVar,
    Unpack,
    cast,
    overload,
)
from uuid import UUID

from django.utils import timezone

from django_bgtasks._framework import (
    DEFAULT_TASK_BACKEND_ALIAS,
    DEFAULT_TASK_PRIORITY,
    DEFAULT_TASK_QUEUE_NAME,
    BaseTaskBackend,
    InvalidTask,
    TaskResultStatus,
    task_backends,
)
from django_bgtasks._framework import Task as BaseTask
from django_bgtasks.arguments import normalize
from django_bgtasks.context import Run, TaskContext
from django_bgtasks.encoding import decode_known
from django_bgtasks.exceptions import (
    DuplicateTask,
    Retry,
    TimeLimitExceeded,
    WorkerLost,
)
from django_bgtasks.labels import as_creator, as_metadata, as_tags
from django_bgtasks.limits import (
    CHANGES_WAITING,
    OnConflict,
    Unique,
    UniqueUntil,
    argument,
    arguments_by_name,
    key_of,
)
from django_bgtasks.options import (
    PERIODIC_OPTIONS,
    TASK_OPTIONS,
    USING_OPTIONS,
    OnLost,
    TaskOptions,
    as_exceptions,
    as_names,
    as_priority,
    as_text,
    as_unique,
    check_function,
    check_names,
    check_options,
)
from django_bgtasks.redaction import (
    EVERYTHING,
    Redaction,
    Secrets,
    marked_by_django,
)
from django_bgtasks.references import fetch_call
from django_bgtasks.results import TaskResult
from django_bgtasks.retries import Backoff, RetryPolicy, delay_after

_POSITIONAL = {
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
}

P = ParamSpec("P")
R = TypeVar("R")

#: Longest task path and queue name that a row holds.
PATH_LIMIT = 255
QUEUE_LIMIT = 100

#: The id of what runs without a row, and of the worker that runs it.
INLINE = "inline"

#: Call keywords that steer the job instead of reaching the function.
CALL_KEYWORDS = ("schedule", "queue", "priority", "verbose_name", "creator")

if TYPE_CHECKING:
    # Generic by itself, for who has no stubs of Django, and so no generic BaseTask.
    class _Base(BaseTask[P, R], Generic[P, R]):
        def call(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
        async def acall(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

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
        delay: seconds or a timedelta that a job waits before it may start.
        expires: seconds or a timedelta from the enqueueing, or a datetime, after which
            no attempt begins.
        unique: which jobs are the same, so that one of them is enough: those with the
            same arguments (True), or the same values of the named parameters, or of
            what a function returns that is called with the arguments.
        unique_until: "finished", "started", or a period as seconds or a timedelta;
            None: "started" if a conflict changes the job that waits, else "finished".
        on_conflict: what becomes of a job where the same one is there.
        store_result: False: the row of a job is deleted when it succeeds.
        retention: seconds or a timedelta that a finished job is kept; None: as
            ``BGTASKS["RETENTION"]`` says.
        verbose_name: what people call its jobs.
        creator: whom they are for, as rows say it: "app.model:key".
        tags: words to find them by.
        metadata: a small dict of notes.
        parent: the id of the job whose task enqueues them.
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
    delay: float | timedelta | None = None
    expires: float | timedelta | datetime | None = None
    unique: Unique = False
    unique_until: UniqueUntil | None = None
    on_conflict: OnConflict = "skip"
    store_result: bool = True
    retention: float | timedelta | None = None
    verbose_name: str = ""
    creator: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict, compare=False)
    parent: UUID | None = None
    periodic: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        check_function(self.func)
        if not self.path:
            object.__setattr__(self, "path", self.module_path)
        for name, value in self._settled():
            object.__setattr__(self, name, value)
        check_options(self)
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

    def _settled(self) -> Iterator[tuple[str, Any]]:
        """Options that may be given in several forms, in the one that is kept."""
        yield "path", as_text("name", self.path)
        yield "queue_name", as_text("queue_name", self.queue_name)
        yield "priority", as_priority(self.priority)
        yield "retry_on", as_exceptions(self.retry_on)
        yield "no_retry_on", as_exceptions(self.no_retry_on)
        yield "sensitive", as_names("sensitive", self.sensitive)
        yield "unique", as_unique(self.unique)
        yield "tags", as_tags(self.tags)
        yield "metadata", as_metadata(self.metadata)
        if self.creator is not None:
            yield "creator", as_creator(self.creator)

    def __reduce__(self) -> tuple[Any, ...]:
        # By its name: from Django 6.1 on, tasks can be pickled, and ours may hold what
        # cannot, such as a function for the back-off.
        declared = _registry[self.path]
        changes = {
            one.name: value
            for one in fields(self)
            if (value := getattr(self, one.name)) != getattr(declared, one.name)
        }
        return _restored, (self.func.__module__, self.path, changes)

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
    @overload
    def __call__(
        self, *args: Any, verbose_name: str, **kwargs: Any
    ) -> TaskResult[P, R]: ...
    @overload
    def __call__(self, *args: Any, creator: Any, **kwargs: Any) -> TaskResult[P, R]: ...
    def __call__(self, *args: Any, **kwargs: Any) -> TaskResult[P, R]:
        """Enqueue a job: ``send(42)``, ``send(42, schedule=60, priority=5)``.

        Takes the function's own arguments, and these keywords beside them:
        ``schedule`` (seconds from now, a timedelta, or a datetime), ``queue`` (the
        name of another queue), ``priority`` (-100 to 100, higher runs first),
        ``verbose_name`` (what people call the job) and ``creator`` (the model instance
        that it is for). ``using()`` knows more.

        Raises:
            TypeError: the arguments do not fit the function.
            NotJSON: an argument cannot be JSON.
            InvalidTask: what a keyword says cannot be used.
            AlreadyEnqueued: the same job is there, and ``on_conflict`` is "raise".
        """
        said = {
            key: value
            for key in CALL_KEYWORDS
            if (value := kwargs.pop(key, None)) is not None
        }
        task = self
        if said:
            if "schedule" in said:
                said |= _as_moment_or_delay(said.pop("schedule"))
            if "queue" in said:
                said["queue_name"] = said.pop("queue")
            task = self.using(**said)
        return task.enqueue(*args, **kwargs)

    def using(self, **options: Any) -> Task[P, R]:
        """A copy with other options; None leaves an option as it is.

        Tags and metadata are added to those that are there.

        Args:
            options: ``priority``, ``queue_name``, ``run_after`` (a datetime) or
                ``delay`` (seconds or a timedelta), ``backend``, ``max_attempts``,
                ``timeout`` (seconds or a timedelta), ``on_lost``, ``expires``,
                ``unique``, ``unique_until``, ``on_conflict``, ``store_result``,
                ``retention``, ``verbose_name``, ``creator`` (a model instance),
                ``tags``, ``metadata``.

        Raises:
            UnknownOption: an option does not exist.
            InvalidTask: a value cannot be used.
        """
        check_names("using()", options, USING_OPTIONS)
        changes = {name: value for name, value in options.items() if value is not None}
        if "run_after" in changes and "delay" in changes:
            raise InvalidTask(
                f"{self.path} was given run_after and delay; say one of them."
            )
        if "run_after" in changes or "delay" in changes:
            # What the task says is said anew.
            changes = {"run_after": None, "delay": None, **changes}
        if "tags" in changes:
            changes["tags"] = (*self.tags, *as_tags(changes["tags"]))
        if "metadata" in changes:
            changes["metadata"] = {**self.metadata, **as_metadata(changes["metadata"])}
        return replace(self, **changes)

    def s(self, *args: P.args, **kwargs: P.kwargs) -> Signature[P, R]:
        """This task with its arguments, not yet enqueued; see ``enqueue_many``."""
        return Signature(self, args, kwargs)

    def child_of(self, job_id: str) -> Task[P, R]:
        """A copy whose jobs are follow-ups of a job; see ``TaskContext.tie``."""
        # A call that was made inline is no job.
        return _copy(self, parent=None if job_id == INLINE else UUID(job_id))

    def now(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now, without a row, and return its value.

        A task with ``takes_context=True`` is given a context of its own. What ``ref``
        refers to is fetched; all else reaches the function as it is.

        Raises:
            ReferenceGone: there is nothing to fetch any more.
        """
        call: Any = self.call
        given, named = fetch_call(args, kwargs)
        if not self.takes_context:
            return cast("R", call(*given, **named))
        context = TaskContext(
            task_result=self._inline_result(args, kwargs), run=Run(self.metadata)
        )
        return cast("R", call(context, *given, **named))

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
            way = ""
            if options := USING_OPTIONS & (kwargs.keys() - self.parameters.keys()):
                way = f" Options of a job go to {self.name}.using({min(options)}=...)."
            raise TypeError(
                f"{self.path}() cannot be called so: {error}.{way}"
            ) from None

    def retry_delay(
        self, error: BaseException, task_result: TaskResult[Any, Any]
    ) -> timedelta | None:
        """How long to wait before another attempt after ``error``; None: give up."""
        worth_it = (*self.retry_on, Retry, TimeLimitExceeded, WorkerLost)
        if isinstance(error, self.no_retry_on) or not isinstance(error, worth_it):
            return None
        return delay_after(self.backoff, error, task_result)

    def unique_key(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
        """What jobs of this task share that are the same; None: this one is unlike any.

        Args:
            args: plain JSON, as is ``kwargs``; they fit the function.

        Raises:
            NotJSON: the function that ``unique`` is has returned something else.
        """
        if callable(self.unique):
            # With the values that the caller has passed.
            subject = self.unique(
                *decode_known(list(args)), **decode_known(dict(kwargs))
            )
            if subject is None:
                return None
            return key_of(self.path, normalize(subject, "what unique() returned"))
        if not self.unique:
            return None
        named = arguments_by_name(self._signature, args, kwargs)
        if isinstance(self.unique, tuple):
            named = {
                name: argument(self._signature, named, name) for name in self.unique
            }
        return key_of(self.path, named)

    @property
    def lets_go_when_started(self) -> bool:
        """Whether others may be enqueued as soon as a unique job runs."""
        if self.unique_until is None:
            return self.on_conflict in CHANGES_WAITING
        return self.unique_until == "started"

    @cached_property
    def says_nothing_rare(self) -> bool:
        """Whether the rows of its jobs say nothing that most rows do not."""
        return self.store_result and not (
            self.unique
            or self.expires
            or self.retention
            or self.verbose_name
            or self.creator
            or self.tags
            or self.metadata
            or self.parent
        )

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """Of a call, by name."""
        return self._signature.parameters

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
            id=INLINE,
            status=TaskResultStatus.RUNNING,
            enqueued_at=now,
            started_at=now,
            finished_at=None,
            last_attempted_at=now,
            args=list(args),
            kwargs=dict(kwargs),
            backend=self.backend,
            errors=[],
            worker_ids=[INLINE],
        )


class DjangoTask(Task[P, R]):
    """One that Django's own ``@task`` has made.

    ``TASKS`` alone says which backend takes it, today: tests put another one there.
    """

    def get_backend(self) -> BaseTaskBackend:
        """The backend that ``TASKS`` names."""
        return task_backends[self.backend]


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

    async def aenqueue(self) -> TaskResult[P, R]:
        """``enqueue`` for async code."""
        return await self.task.aenqueue(*self.args, **self.kwargs)


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


class Decorator(Protocol):
    """Makes a function a task; the result of an ``async`` one is what it awaits to."""

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> Task[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...


class ContextDecorator(Protocol):
    """The same, of a function whose first parameter is the context."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[TaskContext, P], Coroutine[Any, Any, R]], /
    ) -> Task[P, R]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[TaskContext, P], R], /
    ) -> Task[P, R]: ...


@overload
def background(function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
@overload
def background(function: Callable[P, R], /) -> Task[P, R]: ...
@overload
def background(
    *, takes_context: Literal[True], **options: Unpack[TaskOptions]
) -> ContextDecorator: ...
@overload
def background(
    *, takes_context: Literal[False] = False, **options: Unpack[TaskOptions]
) -> Decorator: ...
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
        delay: seconds or a timedelta that a job waits before it may start.
        expires: seconds or a timedelta from the enqueueing, or a datetime: no attempt
            begins later than that; the job ends CANCELLED.
        unique: True: a job is not enqueued where one with the same arguments is; or the
            names of the parameters that count; or a function that is called with the
            arguments and returns what counts (None: nothing does).
        unique_until: until when there may be no other one: "finished" (the default),
            "started" (the default with "replace" and "debounce"), or a period from the
            enqueueing, as seconds or a timedelta, whether or not the job has succeeded
            in it.
        on_conflict: what becomes of the second one: "skip" (the result is that of the
            first), "replace" (the first, if it waits, takes its arguments and its time),
            "debounce" (the first, if it waits, takes its time) or "raise"; default
            "skip".
        store_result: False deletes the row of a job when it succeeds.
        retention: seconds or a timedelta that a finished job is kept; default
            ``BGTASKS["RETENTION"]``.
        verbose_name: what people call its jobs.
        creator: a model instance that its jobs are for; mostly said at the call.
        tags: a word, or some, to find jobs by.
        metadata: a small dict of notes on each job.
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
    check_names("@background", options, TASK_OPTIONS)
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
    return _copy(
        task,
        queue_name=row.queue,
        priority=row.priority,
        run_after=row.run_after,
        backend=row.backend,
    )


def _copy(task: Task[P, R], **changes: Any) -> Task[P, R]:
    copy = object.__new__(type(task))
    for one in fields(task):
        value = changes.get(one.name, getattr(task, one.name))
        object.__setattr__(copy, one.name, value)
    return copy


def _restored(module: str, path: str, changes: Mapping[str, Any]) -> Task[Any, Any]:
    """A task that was pickled, as it is declared now."""
    import_module(module)
    task = find_task(path)
    if task is None:
        raise LookupError(f"{module} declares no task {path!r} any more.")
    return _copy(task, **changes)


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


def _as_moment_or_delay(schedule: Any) -> dict[str, Any]:
    if isinstance(schedule, datetime):
        return {"run_after": schedule}
    if isinstance(schedule, (int, float, timedelta)):
        return {"delay": schedule}
    raise TypeError(
        f"schedule is {schedule!r}; it must be seconds, a timedelta or a datetime."
    )
