"""Results: Django's read-only snapshot of a job, and what else can be done to the job."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from asgiref.sync import sync_to_async

from django_bgtasks._framework import (
    TASK_REFRESH_ATTRS,
    TaskResultDoesNotExist,
    TaskResultStatus,
)
from django_bgtasks._framework import TaskError as BaseTaskError
from django_bgtasks._framework import TaskResult as BaseTaskResult
from django_bgtasks.exceptions import JobCancelled, JobFailed

if TYPE_CHECKING:
    from django_bgtasks.backend import DatabaseBackend

P = ParamSpec("P")
R = TypeVar("R")

if TYPE_CHECKING:
    # Generic by itself, for who has no stubs of Django, and so no generic TaskResult.
    class _Base(BaseTaskResult[P, R], Generic[P, R]):
        @property
        def return_value(self) -> R: ...

else:
    # Django's own is not generic at run time; the backport's is.
    class _Base(BaseTaskResult, Generic[P, R]):
        __slots__ = ()


#: What ``refresh()`` looks up, besides what Django's does.
_REFRESHED = (
    "job_status",
    "progress",
    "metadata",
    "cancelled_by",
    "stores_result",
    "has_expired",
)

#: What a job is doing that has not ended.
_DOINGS = {
    "SCHEDULED": "it is SCHEDULED, for its time, or that of its next attempt, has not "
    "come",
    "READY": "it is READY, but no worker has taken it. Does one run that works on the "
    "queue {queue!r}?",
    "RUNNING": "it is RUNNING",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskError(BaseTaskError):  # type: ignore[misc]  # as below
    """Why an attempt did not succeed.

    Has all that Django's has: ``exception_class``, ``exception_class_path`` and
    ``traceback``.
    """

    #: The error in one line, as lists show it.
    summary: str


@dataclass(frozen=True, kw_only=True)
class TaskResult(_Base[P, R]):  # type: ignore[misc]  # the stubs forget that it is frozen
    """What a job was when it was looked at; ``refresh()`` looks again.

    Has all that Django's has
    (https://docs.djangoproject.com/en/stable/ref/tasks/#task-results).
    """

    #: Those of all attempts that did not succeed, oldest first.
    errors: list[TaskError]  # type: ignore[assignment]  # Django's, and more
    #: SCHEDULED, READY, RUNNING, SUCCESSFUL, FAILED or CANCELLED. Django's ``status``
    #: has no word for the first and the last: there they are READY and FAILED.
    job_status: str = "RUNNING"
    #: What the task reported last: ``done``, ``total`` and ``message``; None: nothing.
    progress: dict[str, Any] | None = None
    #: What was noted of the job when it was enqueued.
    metadata: dict[str, Any] = field(default_factory=dict)
    #: Who cancelled the job, or has asked it to stop; empty: nobody who is known.
    cancelled_by: str = ""
    #: Whether the job is kept when it has succeeded.
    stores_result: bool = True
    #: Whether the job was there already when it was to be enqueued.
    was_deduplicated: bool = False
    #: Whether it was cancelled because nobody had begun it in time.
    has_expired: bool = False

    def __post_init__(self) -> None:
        """Keep the arguments as they were decoded; Django's refuses what is no JSON."""

    def __str__(self) -> str:
        return f"The job {self.id} of {self._task_path}"

    def get(self, timeout: float | timedelta | None = None) -> R:
        """Wait until the job has ended, and return what it returned.

        Of a job that has ended before, at once. This snapshot is refreshed. A job that
        waits for another one keeps a thread of its worker all the while.

        Args:
            timeout: seconds (int or float) or a timedelta to wait at the most; None:
                for ever.

        Returns:
            The value; None if the task does not store its results, and the job was
            still there when the wait began.

        Raises:
            JobFailed: the job failed; of all its attempts, ``result.errors`` tells.
            JobCancelled: somebody, or the task itself, has cancelled it.
            TimeoutError: it has not ended in time; it goes on.
            WaitInTransaction: it has not ended, and a transaction is open.
            TaskResultDoesNotExist: it is no more.
        """
        seconds = _seconds(timeout)
        deadline = None if seconds is None else time.monotonic() + seconds
        goes_on = self.job_status != "SUCCESSFUL"
        find = self._database.find_result
        was_there = self.stores_result or find(self.id) is not None
        while goes_on:
            has_ended = self._database.wait_for_end(self.id, deadline)
            self._become(find(self.id), was_there=was_there)
            # Somebody may have retried it meanwhile.
            goes_on = has_ended and not self.is_finished
        return self._value(seconds)

    async def aget(self, timeout: float | timedelta | None = None) -> R:
        """``get`` for async code; neither the event loop nor a thread is held up."""
        seconds = _seconds(timeout)
        deadline = None if seconds is None else time.monotonic() + seconds
        goes_on = self.job_status != "SUCCESSFUL"
        find = sync_to_async(self._database.find_result)
        was_there = self.stores_result or await find(self.id) is not None
        while goes_on:
            has_ended = await self._database.await_end(self.id, deadline)
            self._become(await find(self.id), was_there=was_there)
            goes_on = has_ended and not self.is_finished
        return self._value(seconds)

    def refresh(self) -> None:
        """Look again.

        Raises:
            TaskResultDoesNotExist: the job is no more.
        """
        self._take_over(self._database.get_result(self.id))

    async def arefresh(self) -> None:
        """``refresh`` for async code."""
        self._take_over(await self._database.aget_result(self.id))

    def cancel(self, by: object = "") -> bool:
        """Cancel the job, or ask its worker to stop it if it is running.

        A running one is stopped within about a second. This snapshot stays what it
        was until ``refresh()``.

        Args:
            by: who wants it, as kept with the job: a user or any text.

        Returns:
            False if the job was finished already, or is no more.
        """
        return self._database.cancel(self.id, by)

    async def acancel(self, by: object = "") -> bool:
        """``cancel`` for async code."""
        return await sync_to_async(self.cancel)(by)

    def retry(self) -> bool:
        """Make the job ready for one more attempt, if it failed or was cancelled.

        This snapshot stays what it was until ``refresh()`` or ``get()``.

        Returns:
            False if it has not failed, was not cancelled, or is no more.
        """
        return self._database.retry(self.id)

    async def aretry(self) -> bool:
        """``retry`` for async code."""
        return await sync_to_async(self.retry)()

    @property
    def _database(self) -> DatabaseBackend:
        return cast("DatabaseBackend", self.task.get_backend())

    @property
    def _task_path(self) -> str:
        # Django's plain tasks, sent to our backend, have no other.
        return str(getattr(self.task, "path", self.task.module_path))

    def _become(self, now: BaseTaskResult[..., Any] | None, *, was_there: bool) -> None:
        """Take over what the job is now; None if it is no more."""
        if now is not None:
            self._take_over(now)
        elif not was_there:
            raise TaskResultDoesNotExist(
                f"{self} is not there. Its task has store_result=False, which deletes "
                "jobs that succeed; or it was rolled back, or is not committed yet."
            )
        elif self.stores_result or self.is_finished:
            raise TaskResultDoesNotExist(
                f"{self} is no more, so nobody knows its value. It was pruned, as "
                "BGTASKS['RETENTION'] has it, or deleted."
            )
        else:
            # Its success has deleted the job: it was not to be kept.
            self._set("status", TaskResultStatus.SUCCESSFUL)
            self._set("job_status", "SUCCESSFUL")

    def _take_over(self, now: BaseTaskResult[..., Any]) -> None:
        for name in (*TASK_REFRESH_ATTRS, *_REFRESHED):
            self._set(name, getattr(now, name))

    def _set(self, name: str, value: object) -> None:
        # Django's own way: a snapshot is frozen for others.
        object.__setattr__(self, name, value)

    def _value(self, seconds: float | None) -> R:
        if self.job_status == "SUCCESSFUL":
            return self.return_value
        if self.job_status == "FAILED":
            raise JobFailed(self)
        if self.job_status == "CANCELLED":
            raise JobCancelled(self)
        doing = _DOINGS[self.job_status].format(queue=self.task.queue_name)
        raise TimeoutError(f"{self} has not ended within {seconds} s: {doing}")


def _seconds(timeout: float | timedelta | None) -> float | None:
    return timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
