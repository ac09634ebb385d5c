"""One attempt: from a claimed job to an Outcome. Writes no row but its progress."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, partial
from typing import Any

from django.db import InterfaceError, OperationalError, connections
from django.dispatch import Signal

from django_bgtasks import middleware, signals
from django_bgtasks._framework import (
    TaskResultStatus,
    is_heard,
    task_started,
)
from django_bgtasks.arguments import normalize_result, restore_call
from django_bgtasks.conf import get_settings
from django_bgtasks.context import TaskContext
from django_bgtasks.exceptions import (
    CancelRequested,
    Interrupt,
    TimeLimitExceeded,
    UnknownTask,
)
from django_bgtasks.judgement import Judgement
from django_bgtasks.models import Job
from django_bgtasks.outcomes import (
    Error,
    Expired,
    Failed,
    Outcome,
    Recorded,
    Released,
    Snoozed,
    Succeeded,
    Unknown,
)
from django_bgtasks.redaction import loggable
from django_bgtasks.retries import RetryPolicy
from django_bgtasks.signals import job_started, logger
from django_bgtasks.tasks import Task
from django_bgtasks.worker.atomic import JobLost, NotBegun, run_atomically
from django_bgtasks.worker.board import Board
from django_bgtasks.worker.clock import Clock
from django_bgtasks.worker.connections import leave_connections_clean
from django_bgtasks.worker.event_loop import EventLoop
from django_bgtasks.worker.interrupt import Interruptible
from django_bgtasks.worker.job_run import JobRun

#: How long a job waits that could not begin, since the database was in trouble.
TROUBLE_DELAY = timedelta(seconds=1)


class Execution(Judgement):
    """A claimed job, how to run it, and how to stop it.

    Made by the worker's loop and run in an executor thread; ``interrupt`` is called
    from the worker's loop meanwhile.

    Args:
        job: as it was claimed.
        clock: tells the time of the database.
    """

    # In the class, for of most executions these stay so, and there are many.

    #: On the monotonic clock; None before the body runs, or without a limit.
    deadline: float | None = None
    #: Where it says that it runs.
    _place: tuple[Board, int] | None = None
    #: The body of an async task, once it is awaited.
    _body: asyncio.Future[Any] | None = None
    #: Why it was interrupted.
    _reason: type[Interrupt] | None = None
    #: Whether the body was come to.
    _has_begun = False
    #: Whether its success was written in the transaction of its body.
    _is_recorded = False
    _is_cancelled = False
    #: Whether the body asks if it is cancelled, and was told so.
    _looks_for_cancellation = False
    _saw_cancellation = False
    #: Until when it may stop by itself.
    _patience_ends: float | None = None

    _clock: Clock

    def __init__(self, job: Job, clock: Clock) -> None:
        super().__init__(job, clock)
        self.claimed_at = self._began = clock.monotonic()
        self._interruptible = Interruptible()

    @property
    def _grace(self) -> float:
        return get_settings().interrupt_grace.total_seconds()

    @property
    def is_async(self) -> bool:
        """Whether its body is awaited on the event loop."""
        return self.task is not None and self.task.is_async

    def begin(self, board: Board, slot: int) -> None:
        """Say on ``board`` that the thread of ``slot`` runs this now."""
        # Its id, not its pk, for which Django looks up which field that is.
        job = self.job
        if job.timeout is None:
            board.begin(slot, job.id)
        else:
            limit = self._clock.monotonic() + job.timeout + self._grace
            board.begin(slot, job.id, limit)
        self._place = board, slot

    def run(self, event_loop: EventLoop) -> Outcome:
        """Run the task in this thread, or wait here while it is awaited."""
        try:
            try:
                return self._run(event_loop)
            finally:
                self._leave_thread_clean()
        except BaseException as error:  # noqa: BLE001 (see _crashed)
            return self._crashed(error)

    def cancel(self) -> None:
        """Somebody has cancelled the job: stop it, or let it stop by itself."""
        if self._is_cancelled:
            return
        self._is_cancelled = True
        if self._looks_for_cancellation:
            self._patience_ends = self._clock.monotonic() + self._grace
        else:
            self.interrupt(CancelRequested)

    def interrupt_if_overdue(self, monotonic: float) -> None:
        """Stop it if it runs past its time limit, or was cancelled long enough ago."""
        if self._reason is not None:
            self._interruptible.insist()
        elif self.deadline is not None and monotonic >= self.deadline:
            self.interrupt(TimeLimitExceeded)
        elif self._patience_ends is not None and monotonic >= self._patience_ends:
            self.interrupt(CancelRequested)

    def interrupt(self, reason: type[Interrupt]) -> None:
        """Raise ``reason`` inside the running task; the first one counts."""
        if self._reason is not None:
            return
        # Set before it is sent: a body that begins in between looks for it.
        self._reason = reason
        self.deadline = None
        if reason is CancelRequested and self._place is not None:
            board, slot = self._place
            board.cancel(slot, self.job.pk, self._clock.monotonic() + self._grace)
        # Cancelled first, an async body is past what raises in this thread, and its
        # finally is not disturbed a second time.
        if self._body is not None:
            self._body.get_loop().call_soon_threadsafe(self._body.cancel)
        self._interruptible.interrupt(reason)

    def _leave_thread_clean(self) -> None:
        leave_connections_clean()
        if self._reason is not None:
            # What was to cancel a query may be late, and hit the next job's.
            connections.close_all()

    def _run(self, event_loop: EventLoop) -> Outcome:
        self._began = self._clock.monotonic()
        task = self.task
        if task is None:
            return self._end(self._outcome_of_unknown())
        if self.job.expires_at is not None and self._clock.now() >= self.job.expires_at:
            self._announce(TaskResultStatus.FAILED)
            return self._end(Expired())
        self._begin()
        self._has_begun = True
        # Everything a task can raise, SystemExit too, is the job's to record: no
        # task may take the worker down.
        try:
            if task.is_async:
                value = self._await_body(task, event_loop)
            else:
                value = self._call_body(task)
            if not self._is_recorded:
                value = normalize_result(value)
        except BaseException as error:  # noqa: BLE001 (see above)
            return self._fail(error)
        return self._succeed(value)

    def _call_body(self, task: Task[Any, Any]) -> Any:
        if not task.atomic:
            return self._call_interruptibly(task)
        value = run_atomically(
            self.job, partial(self._call_interruptibly, task), self._clock
        )
        self._is_recorded = True
        return value

    def _call_interruptibly(self, task: Task[Any, Any]) -> Any:
        first = self._first(task)
        with self._interruptible:
            if self._reason is not None:
                raise self._reason
            args, kwargs = restore_call(self.job.args, self.job.kwargs)
            if middleware.wraps_attempts():
                body = partial(task.func, *first, *args, **kwargs)
                value = middleware.around_attempt(self._context, body, is_async=False)
            else:
                value = task.func(*first, *args, **kwargs)
        self._raise_if_it_saw_cancellation()
        return value

    def _await_body(self, task: Task[Any, Any], event_loop: EventLoop) -> Any:
        first = self._first(task)
        # References are fetched in this thread, as whatever asks the database.
        with self._interruptible:
            args, kwargs = restore_call(self.job.args, self.job.kwargs)
        body = partial(task.func, *first, *args, **kwargs)
        if middleware.wraps_attempts():
            wrapped = partial(middleware.around_async_attempt, self._context, body)
            value = middleware.around_attempt(
                self._context,
                partial(self._run_on, event_loop, wrapped),
                is_async=True,
            )
        else:
            value = self._run_on(event_loop, body)
        self._raise_if_it_saw_cancellation()
        return value

    def _run_on(
        self, event_loop: EventLoop, body: Callable[[], Coroutine[Any, Any, Any]]
    ) -> Any:
        value = event_loop.run(self._awaited(body()), self._interruptible)
        if isinstance(value, _Raised):
            raise value.error
        return value

    def _raise_if_it_saw_cancellation(self) -> None:
        # It has returned because of that, not because it was done.
        if self._saw_cancellation:
            raise CancelRequested

    async def _awaited(self, body: Coroutine[Any, Any, Any]) -> Any:
        # A task of its own, so that a late cancellation cannot hit what follows it.
        self._body = asyncio.ensure_future(_as_value(body))
        if self._reason is not None:
            self._body.cancel()
        try:
            return await self._body
        except BaseException as error:  # noqa: BLE001 (for the thread that waits)
            return _Raised(error)

    def _crashed(self, error: BaseException) -> Outcome:
        """The attempt fell over outside its body: a lost connection, a log handler.

        Whatever it was, the job must get an outcome, or it would never end; the one
        that its body had come to, if it had.
        """
        # Such as of a handler whose stream is closed, or of the error's own code.
        with suppress(BaseException):
            trouble = loggable(error, self._secrets)
            logger.error("Trouble around %s", self.job, exc_info=trouble)
        if self._outcome is not None:
            return self._outcome
        if not self._has_begun and isinstance(
            error, (OperationalError, InterfaceError)
        ):
            # The database was away; that is no attempt of the job's.
            return Snoozed(TROUBLE_DELAY)
        again = self.job.attempt < self.job.max_attempts
        delay = RetryPolicy().delay(self.job.attempt) if again else None
        return Failed(self._described(error), delay)

    def _begin(self) -> None:
        if self.job.timeout is not None:
            self.deadline = self._began + self.job.timeout
        if signals.is_heard(job_started, logging.DEBUG):
            _send(job_started, Job, job=self.job)
        if is_heard(task_started, logging.INFO):
            _send(task_started, self._sender, task_result=self.result)

    def _first(self, task: Task[Any, Any]) -> tuple[TaskContext, ...]:
        """What the body gets before its arguments, if it wants it."""
        return (self._context,) if task.takes_context else ()

    @cached_property
    def _context(self) -> TaskContext:
        deadline = None
        if self.job.timeout is not None:
            rest = self._began + self.job.timeout - self._clock.monotonic()
            deadline = self._clock.now() + timedelta(seconds=rest)
        run = JobRun(self.job, self._look_for_cancellation, deadline)
        return TaskContext(task_result=self.result, run=run)

    def _look_for_cancellation(self) -> bool:
        self._looks_for_cancellation = True
        self._saw_cancellation |= self._is_cancelled
        return self._is_cancelled

    def _succeed(self, value: Any) -> Outcome:
        self._outcome = Recorded(value) if self._is_recorded else Succeeded(value)
        self._announce(TaskResultStatus.SUCCESSFUL, value=value)
        return self._end(self._outcome)

    def _end(self, outcome: Outcome) -> Outcome:
        self.duration = self._clock.monotonic() - self._began
        return super()._end(outcome)

    def _reason_behind(
        self, error: BaseException
    ) -> tuple[BaseException, BaseException]:
        """The interruption, if that is what ``error`` comes from; else ``error``.

        An exception that arrives within a query leaves the connection in the middle
        of something, and what then fails to roll back hides it; so does a lock that
        was about to be taken. What hides it has come further, through the task's own
        lines. Async bodies are interrupted by cancelling them.
        """
        if self._reason is None:
            return error, error
        if isinstance(error, asyncio.CancelledError):
            reason = self._reason().with_traceback(error.__traceback__)
            return reason, reason
        links: BaseException | None = error
        while links is not None:
            if isinstance(links, self._reason):
                return links, error
            links = links.__context__
        return error, error

    def _outcome_of(self, error: BaseException, raised: BaseException) -> Outcome:
        match error:
            case NotBegun():
                return Snoozed(TROUBLE_DELAY)
            case JobLost():
                return Released()
            case _:
                return super()._outcome_of(error, raised)

    def _outcome_of_unknown(self) -> Outcome:
        grace = get_settings().unknown_task_grace
        since = self.job.unknown_since
        if since is None or self._clock.now() - since < grace:
            return Unknown()
        return Failed(Error.from_exception(UnknownTask(self.job.task, grace)), None)


def _send(signal: Signal, sender: type, **facts: Any) -> None:
    # What receivers raise is logged, and a log handler may raise, too, such as one whose
    # stream is closed. That is no reason not to run the job.
    with suppress(Exception):
        signal.send_robust(sender, **facts)


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
