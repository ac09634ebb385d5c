"""What becomes of an attempt that did not go well, and who is told of its end."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Protocol, cast

from django.core.exceptions import ImproperlyConfigured

from django_bgtasks import signals
from django_bgtasks._framework import TaskResultStatus, is_heard, task_finished
from django_bgtasks.backend import DatabaseBackend, build_result
from django_bgtasks.encoding import decode_known
from django_bgtasks.exceptions import (
    Cancel,
    CancelRequested,
    NotJSON,
    ReferenceGone,
    Retry,
    Snooze,
    TimeLimitExceeded,
    WorkerLost,
    WorkerStopping,
)
from django_bgtasks.models import Job
from django_bgtasks.models.job import OnLost
from django_bgtasks.outcomes import (
    Cancelled,
    Error,
    Failed,
    Lost,
    Outcome,
    Released,
    Snoozed,
    Succeeded,
    TimedOut,
)
from django_bgtasks.redaction import Secrets, loggable, while_handling
from django_bgtasks.results import TaskError, TaskResult
from django_bgtasks.retries import RetryPolicy
from django_bgtasks.signals import job_ended, logger
from django_bgtasks.tasks import Task, find_task, with_row_options


class Clock(Protocol):
    """Tells the time of the database."""

    def now(self) -> datetime: ...


class Judgement:
    """Decides by the policy of a job's task, and by what its row says.

    Writes nothing: an outcome is for the store.

    Args:
        job: as it was claimed.
        clock: tells the time of the database.
    """

    #: Seconds that the attempt took, once it is over.
    duration = 0.0
    #: Whether there may be another attempt.
    _may_go_on = True
    _outcome: Outcome | None = None
    _secrets: Secrets | None = None

    def __init__(self, job: Job, clock: Clock) -> None:
        self.job = job
        self.task = find_task(job.task)
        self._clock = clock
        if self.task is not None and self.task.redaction is not None:
            # Noted now, for the body may change what it is given.
            self._secrets = self.task.redaction.secrets(job.args, job.kwargs)

    @cached_property
    def result(self) -> TaskResult[Any, Any]:
        """The job as Django's snapshot, while it runs."""
        task = cast("Task[Any, Any]", self.task)
        return build_result(self.job, with_row_options(task, self.job))

    def lose(self, error: BaseException, *, may_go_on: bool = True) -> Outcome:
        """The outcome of a run that ended elsewhere, in a process that is no more.

        By the same way as if the body had raised ``error`` here.

        Args:
            may_go_on: whether there may be another attempt, if the policy says so.
        """
        self._may_go_on = may_go_on
        now = self._clock.now()
        self.duration = (now - (self.job.started_at or now)).total_seconds()
        # As within its except block: Django's receiver logs the exception at hand.
        return while_handling(error, lambda: self._fail(error))

    def _fail(self, error: BaseException) -> Outcome:
        if self._secrets is None:
            return self._judge(error)
        # Receivers log the exception at hand, as Django's own does, and its frames
        # hold the variables.
        stand_in = loggable(error, self._secrets)
        return while_handling(stand_in, lambda: self._judge(error))

    def _judge(self, error: BaseException) -> Outcome:
        self._outcome = outcome = self._outcome_of(*self._reason_behind(error))
        if isinstance(outcome, Cancelled) or (
            isinstance(outcome, (Failed, TimedOut, Lost)) and outcome.retry_in is None
        ):
            self._announce(TaskResultStatus.FAILED, error=outcome.error)
        return self._end(outcome)

    def _reason_behind(
        self, error: BaseException
    ) -> tuple[BaseException, BaseException]:
        """What ``error`` comes from, and which of the two tells where it happened."""
        return error, error

    def _outcome_of(self, error: BaseException, raised: BaseException) -> Outcome:
        """What is to become of the job.

        Args:
            error: why the run has ended.
            raised: what its traceback is to be that of.
        """
        match error:
            case Snooze(delay=delay):
                return Snoozed(delay)
            case WorkerStopping():
                return Released(has_begun=True)
            case Cancel() | CancelRequested():
                return Cancelled(self._described(error, raised))
            case TimeLimitExceeded():
                return TimedOut(self._described(error, raised), self._retry_in(error))
            case WorkerLost():
                return Lost(self._described(error, raised), self._retry_in(error))
            case _:
                return Failed(self._described(error, raised), self._retry_in(error))

    def _described(
        self, error: BaseException, raised: BaseException | None = None
    ) -> Error:
        return Error.from_exception(error, self._secrets, raised)

    def _retry_in(self, error: BaseException) -> timedelta | None:
        # What is no JSON now will be none the next time; and if it is the return
        # value, the work is done. Nor does a row come back that is gone.
        if (
            not self._may_go_on
            or self.job.attempt >= self.job.max_attempts
            or isinstance(error, (NotJSON, ReferenceGone))
        ):
            return None
        if isinstance(error, WorkerLost) and self.job.on_lost == OnLost.FAIL:
            return None
        if isinstance(error, Retry) and error.delay is not None:
            return error.delay
        if self.task is None:
            return RetryPolicy().delay(self.job.attempt)
        try:
            return self.task.retry_delay(error, self.result)
        except Exception as trouble:  # noqa: BLE001 (whatever it raises, the job goes on)
            logger.error(
                "The backoff of %s raised; the default one is used",
                self.job.task,
                exc_info=loggable(trouble, self._secrets),
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
        if self.task is None or not is_heard(
            task_finished, logging.ERROR if failed else logging.INFO
        ):
            return
        errors = list(self.result.errors)
        if error is not None:
            errors.append(
                TaskError(
                    exception_class_path=error.exception_class_path,
                    traceback=error.traceback,
                    summary=error.summary,
                )
            )
        result: TaskResult[Any, Any] = replace(
            self.result,
            status=status,
            job_status=str(status.value),
            finished_at=self._clock.now(),
            errors=errors,
        )
        object.__setattr__(result, "_return_value", decode_known(value))
        task_finished.send_robust(self._sender, task_result=result)

    def _end(self, outcome: Outcome) -> Outcome:
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
