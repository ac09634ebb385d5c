"""Runs in the thread of a test, on its connections and within its transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_bgtasks import timing
from django_bgtasks._framework import TaskResultStatus
from django_bgtasks.backend import build_result
from django_bgtasks.exceptions import (
    Cancel,
    CancelRequested,
    Interrupt,
    Retry,
    Snooze,
    UnknownTask,
)
from django_bgtasks.models import Job
from django_bgtasks.models.job import new_id
from django_bgtasks.outcomes import Failed, Outcome, Recorded, Succeeded
from django_bgtasks.results import TaskResult
from django_bgtasks.store.engines import get_engine
from django_bgtasks.tasks import with_row_options
from django_bgtasks.worker.atomic import NotBegun
from django_bgtasks.worker.clock import Clock
from django_bgtasks.worker.event_loop import EventLoop
from django_bgtasks.worker.execution import Execution
from django_bgtasks.worker.settling import Settler

#: What a test may want to see in a result. Anything else, such as Ctrl-C or what test
#: runners raise, is nobody's to keep.
_KEPT = (Exception, SystemExit, Interrupt)


class Run(NamedTuple):
    """What came of an attempt.

    Args:
        result: the job after it; None if nobody knows its task.
        error: what its test should hear of, if there is anything.
    """

    result: TaskResult[Any, Any] | None
    error: BaseException | None

    def raise_error(self, *, all_errors: bool) -> None:
        """Raise ``error``, if there is one.

        Args:
            all_errors: False: only what must not be kept in a result.
        """
        if self.error is None:
            return
        if all_errors or not isinstance(self.error, _KEPT):
            raise self.error


class Runner:
    """Runs claimed jobs as a worker does, but here and now. To be closed."""

    def __init__(self) -> None:
        #: The id of the worker that this stands for; it has no row.
        self.worker = new_id()
        self.clock = _Clock()
        self._settler = Settler(self.worker, self.clock)
        self._event_loop = EventLoop()

    def run(self, job: Job) -> Run:
        """Run a job that ``worker`` has claimed, and record its outcome."""
        execution = _Execution(job, self.clock)
        with _transactions_kept():
            # In an empty context, as a worker's threads have: what the test has
            # activated would not be there either, least of all that it waits.
            outcome = Context().run(execution.run, self._event_loop)
        if not isinstance(outcome, Recorded):
            self._settler.add(job, outcome, execution.duration)
            self._settler.settle()
        return Run(self._result_of(execution, outcome), _error_of(execution, outcome))

    def close(self) -> None:
        """Let the event loop end, if there was need for one."""
        self._event_loop.close()

    def _result_of(
        self, execution: Execution, outcome: Outcome
    ) -> TaskResult[Any, Any] | None:
        if execution.task is None:
            return None
        row = Job.objects.using(get_engine().alias).filter(pk=execution.job.pk).first()
        if row is not None:
            return build_result(row, with_row_options(execution.task, row))
        if not isinstance(outcome, Succeeded):
            return execution.result
        # Not every row is kept.
        result = replace(
            execution.result,
            status=TaskResultStatus.SUCCESSFUL,
            finished_at=self.clock.now(),
        )
        object.__setattr__(result, "_return_value", outcome.value)
        return result


class _Clock(Clock):
    """The one by which this process enqueues, as a test may have stopped it."""

    def __init__(self) -> None:
        super().__init__(timing.now)

    def now(self) -> datetime:
        return timing.now()


class _Execution(Execution):
    """Keeps what was raised, and leaves the thread's connections to the test."""

    error: BaseException | None = None

    def _leave_thread_clean(self) -> None:
        """They are the test's, and what is open in them is its transaction."""

    def _fail(self, error: BaseException) -> Outcome:
        self.error = error
        return super()._fail(error)

    def _crashed(self, error: BaseException) -> Outcome:
        if self._outcome is None:
            self.error = error
        return super()._crashed(error)


def _error_of(execution: _Execution, outcome: Outcome) -> BaseException | None:
    """What a test should hear of: not what a task has raised to steer its job."""
    error = execution.error
    if execution.task is None:
        return UnknownTask(execution.job.task, timedelta(0))
    match error:
        case None | Snooze() | Cancel() | CancelRequested():
            return None
        case Retry() if isinstance(outcome, Failed) and outcome.retry_in is not None:
            return None
        case NotBegun():
            return error.__cause__
    return error


@contextmanager
def _transactions_kept() -> Iterator[None]:
    """Let a test go on in its transactions, whatever errors a task has met in them.

    By savepoints, and not by ``atomic()``: a task may use ``durable`` ones. What it
    has written before such an error is lost; so it would be in the middle of its own
    transaction, but not in a worker where it has none.
    """
    savepoints = [
        (connection, savepoint)
        for connection in connections.all(initialized_only=True)
        if connection.in_atomic_block and (savepoint := connection.savepoint())
    ]
    yield
    for connection, savepoint in savepoints:
        if connection.in_atomic_block:
            _end(connection, savepoint)


def _end(connection: BaseDatabaseWrapper, savepoint: str) -> None:
    if not connection.needs_rollback:
        with suppress(DatabaseError):
            connection.savepoint_commit(savepoint)
            return
    # An error has been met, of which Django or the database will have no more.
    connection.set_rollback(False)
    connection.savepoint_rollback(savepoint)
    connection.savepoint_commit(savepoint)
