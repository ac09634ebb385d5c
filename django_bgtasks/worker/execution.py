"""One attempt: from a claimed job to an Outcome. Writes no row but its progress."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured

from django_bgtasks import signals
from django_bgtasks._framework import (
    TaskError,
    TaskResult,
    TaskResultStatus,
    is_heard,
    task_finished,
    task_started,
)
from django_bgtasks.arguments import normalize_result
from django_bgtasks.backend import DatabaseBackend, build_result
from django_bgtasks.conf import get_settings
from django_bgtasks.context import TaskContext
from django_bgtasks.exceptions import (
    Cancel,
    CancelRequested,
    Interrupt,
    NotJSON,
    Retry,
    Snooze,
    TimeLimitExceeded,
    UnknownTask,
    WorkerStopping,
)
from django_bgtasks.models import Job
from django_bgtasks.outcomes import (
    Cancelled,
    Error,
    Failed,
    Outcome,
    Released,
    Snoozed,
    Succeeded,
    TimedOut,
    Unknown,
)
from django_bgtasks.retries import RetryPolicy
from django_bgtasks.signals import job_ended, job_started, logger
from django_bgtasks.tasks import Task, find_task, with_row_options
from django_bgtasks.worker.clock import Clock
from django_bgtasks.worker.connections import leave_connections_clean
from django_bgtasks.worker.event_loop import EventLoop
from django_bgtasks.worker.interrupt import Interruptible
from django_bgtasks.worker.progress import ProgressReporter


class Execution:
    """A claimed job, how to run it, and how to stop it.

    Made by the worker's loop and run in an executor thread; ``interrupt`` is called
    from the worker's loop meanwhile.

    Args:
        job: as it was claimed.
        clock: tells the time of the database.
    """

    def __init__(self, job: Job, clock: Clock) -> None:
        self.job = job
        self.task = find_task(job.task)
        #: On the monotonic clock; None before the body runs, or without a limit.
        self.deadline: float | None = None
        #: Seconds that it took, once it is over.
        self.duration = 0.0
        self.claimed_at = clock.monotonic()
        self._clock = clock
        self._interruptible = Interruptible()
        self._body: asyncio.Future[Any] | None = None
        self._reason: type[Interrupt] | None = None
        self._outcome: Outcome | None = None
        self._began = self.claimed_at

    @property
    def is_async(self) -> bool:
        """Whether its body is awaited on the event loop."""
        return self.task is not None and self.task.is_async

    def run(self, event_loop: EventLoop) -> Outcome:
        """Run the task in this thread, or wait here while it is awaited."""
        try:
            try:
                return self._run(event_loop)
            finally:
                leave_connections_clean()
        except BaseException as error:  # noqa: BLE001 (see _crashed)
            return self._crashed(error)

    def interrupt(self, reason: type[Interrupt]) -> None:
        """Raise ``reason`` inside the running task; the first one counts."""
        if self._reason is not None:
            return
        # Set before it is sent: a body that begins in between looks for it.
        self._reason = reason
        self.deadline = None
        self._interruptible.interrupt(reason)
        if self._body is not None:
            self._body.get_loop().call_soon_threadsafe(self._body.cancel)

    def is_overdue(self, monotonic: float) -> bool:
        """Whether the attempt runs past its time limit."""
        return self.deadline is not None and monotonic >= self.deadline

    def _run(self, event_loop: EventLoop) -> Outcome:
        self._began = self._clock.monotonic()
        task = self.task
        if task is None:
            return self._end(self._outcome_of_unknown())
        self._begin()
        # Everything a task can raise, SystemExit too, is the job's to record: no
        # task may take the worker down.
        try:
            if task.is_async:
                value = self._await_body(task, event_loop)
            else:
                value = self._call_body(task)
            value = normalize_result(value)
        except BaseException as error:  # noqa: BLE001 (see above)
            return self._fail(error)
        return self._succeed(value)

    def _call_body(self, task: Task[Any, Any]) -> Any:
        args = self._positional(task)
        with self._interruptible:
            if self._reason is not None:
                raise self._reason
            return task.func(*args, **self.job.kwargs)

    def _await_body(self, task: Task[Any, Any], event_loop: EventLoop) -> Any:
        body = task.func(*self._positional(task), **self.job.kwargs)
        value = event_loop.run(self._awaited(body))
        if isinstance(value, _Raised):
            raise value.error
        return value

    async def _awaited(self, body: Coroutine[Any, Any, Any]) -> Any:
        # A task of its own, so that a late cancellation cannot hit what follows it.
        self._body = asyncio.ensure_future(_as_value(body))
        if self._reason is not None:
            self._body.cancel()
        try:
            return await self._body
        except BaseException as error:  # noqa: BLE001 (for the thread that waits)
            return _Raised(error)
        finally:
            await _tidy_shared_thread()

    def _crashed(self, error: BaseException) -> Outcome:
        """The attempt fell over outside its body: a lost connection, a log handler.

        Whatever it was, the job must get an outcome, or it would never end; the one
        that its body had come to, if it had.
        """
        logger.error("Trouble around %s", self.job, exc_info=error)
        if self._outcome is not None:
            return self._outcome
        again = self.job.attempt < self.job.max_attempts
        delay = RetryPolicy().delay(self.job.attempt) if again else None
        return Failed(Error.from_exception(error), delay)

    @cached_property
    def result(self) -> TaskResult[Any, Any]:
        """The job as Django's snapshot, while it runs."""
        task = cast("Task[Any, Any]", self.task)
        return build_result(self.job, with_row_options(task, self.job))

    def _begin(self) -> None:
        if self.job.timeout is not None:
            self.deadline = self._began + self.job.timeout
        if signals.is_heard(job_started, logging.DEBUG):
            job_started.send_robust(Job, job=self.job)
        if is_heard(task_started, logging.INFO):
            task_started.send_robust(self._sender, task_result=self.result)

    def _positional(self, task: Task[Any, Any]) -> list[Any]:
        if not task.takes_context:
            return cast("list[Any]", self.job.args)
        reporter = ProgressReporter(self.job)
        context = TaskContext(task_result=self.result, report=reporter.report)
        return [context, *self.job.args]

    def _succeed(self, value: Any) -> Outcome:
        self._outcome = Succeeded(value)
        self._announce(TaskResultStatus.SUCCESSFUL, value=value)
        return self._end(self._outcome)

    def _fail(self, error: BaseException) -> Outcome:
        self._outcome = outcome = self._outcome_of(self._reason_behind(error))
        if isinstance(outcome, Cancelled) or (
            isinstance(outcome, (Failed, TimedOut)) and outcome.retry_in is None
        ):
            self._announce(TaskResultStatus.FAILED, error=outcome.error)
        return self._end(outcome)

    def _reason_behind(self, error: BaseException) -> BaseException:
        """The interruption, if that is what ``error`` comes from; else ``error``.

        An exception that arrives within a query leaves the connection in the middle
        of something, and what then fails to roll back hides it. Async bodies are
        interrupted by cancelling them.
        """
        if self._reason is None:
            return error
        if isinstance(error, asyncio.CancelledError):
            return self._reason().with_traceback(error.__traceback__)
        links: BaseException | None = error
        while links is not None:
            if isinstance(links, self._reason):
                return links
            links = links.__context__
        return error

    def _outcome_of(self, error: BaseException) -> Outcome:
        match error:
            case Snooze(delay=delay):
                return Snoozed(delay)
            case WorkerStopping():
                return Released()
            case Cancel() | CancelRequested():
                return Cancelled(Error.from_exception(error))
            case TimeLimitExceeded():
                return TimedOut(Error.from_exception(error), self._retry_in(error))
            case _:
                return Failed(Error.from_exception(error), self._retry_in(error))

    def _outcome_of_unknown(self) -> Outcome:
        grace = get_settings().unknown_task_grace
        since = self.job.unknown_since
        if since is None or self._clock.now() - since < grace:
            return Unknown()
        return Failed(Error.from_exception(UnknownTask(self.job.task, grace)), None)

    def _retry_in(self, error: BaseException) -> timedelta | None:
        # What is no JSON now will be none the next time; and if it is the return
        # value, the work is done.
        if self.job.attempt >= self.job.max_attempts or isinstance(error, NotJSON):
            return None
        if isinstance(error, Retry) and error.delay is not None:
            return error.delay
        task = cast("Task[Any, Any]", self.task)
        try:
            return task.retry_delay(error, self.result)
        except Exception:  # noqa: BLE001 (whatever the callable raises, the job goes on)
            logger.exception(
                "The backoff of %s raised; the default one is used", self.job.task
            )
            return RetryPolicy().delay(self.job.attempt)

    def _announce(
        self, status: TaskResultStatus, value: Any = None, error: Error | None = None
    ) -> None:
        """Send Django's ``task_finished``, inside the except block if there is one.

        In the thread of ``task_started``, so that what a receiver opened there (a
        span, a scope) can be closed.
        """
        failed = status == TaskResultStatus.FAILED
        if not is_heard(task_finished, logging.ERROR if failed else logging.INFO):
            return
        errors = list(self.result.errors)
        if error is not None:
            errors.append(
                TaskError(
                    exception_class_path=error.exception_class_path,
                    traceback=error.traceback,
                )
            )
        result: TaskResult[Any, Any] = replace(
            self.result, status=status, finished_at=self._clock.now(), errors=errors
        )
        object.__setattr__(result, "_return_value", value)
        task_finished.send_robust(self._sender, task_result=result)

    def _end(self, outcome: Outcome) -> Outcome:
        self.duration = self._clock.monotonic() - self._began
        is_routine = isinstance(outcome, Succeeded)
        if not is_routine or signals.is_heard(job_ended, logging.INFO):
            job_ended.send_robust(
                Job, job=self.job, outcome=outcome, duration=self.duration
            )
        return outcome

    @property
    def _sender(self) -> type:
        try:
            return type(self.result.task.get_backend())
        except ImproperlyConfigured:
            # Its alias has gone from TASKS since it was enqueued.
            return DatabaseBackend


@dataclass(frozen=True)
class _Raised:
    """What a body raised. As a value, for asyncio lets some exceptions end the event
    loop, and all that is on it, and turns others into its own.
    """

    error: BaseException


async def _as_value(body: Awaitable[Any]) -> Any:
    try:
        return await body
    except (SystemExit, KeyboardInterrupt) as error:
        return _Raised(error)


async def _tidy_shared_thread() -> None:
    """Clean up in the thread of the task's own ``sync_to_async`` calls.

    Another task may be blocking there; then it is done later, and not waited for.
    """
    tidying = asyncio.ensure_future(sync_to_async(leave_connections_clean)())
    await asyncio.wait([tidying], timeout=0.1)
