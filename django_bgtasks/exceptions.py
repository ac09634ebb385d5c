"""The error tree, and the exceptions by which a task steers its own job."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from django_bgtasks.results import TaskResult


class UnknownOption(TypeError):
    """A keyword that ``@background`` or ``using()`` does not have.

    Args:
        where: which of the two.
        option: the keyword.
        known: those that there are.
        meant: what it is like: itself, or a word for the same.
    """

    def __init__(
        self, where: str, option: str, known: Iterable[str], meant: str
    ) -> None:
        super().__init__(f"{where} has no option {option!r}.{suggestion(meant, known)}")


class UnknownSetting(ImproperlyConfigured):
    """A key of ``BGTASKS`` that does not exist."""

    def __init__(self, key: str, known: Iterable[str]) -> None:
        super().__init__(f"BGTASKS has no key {key!r}.{suggestion(key, known)}")


class InvalidSetting(ImproperlyConfigured):
    """A value of ``BGTASKS`` that cannot be used."""

    def __init__(self, key: str, value: object, expected: str) -> None:
        super().__init__(f"BGTASKS[{key!r}] is {value!r}; it must be {expected}.")


class NotJSON(TypeError):
    """An argument or a return value that JSON cannot hold.

    The message names the place, such as ``args[1].when``, and the way out.
    """


class CannotDecode(ValueError):
    """A stored argument or result that cannot be made a value again."""


class ReferenceGone(LookupError):
    """A job refers to a model instance that is no more; it is not tried again.

    Args:
        where: the place of the reference, such as ``args[0]``.
        reference: as text, ``shop.order:42``.
        missing: what is not there.
    """

    def __init__(self, where: str, reference: str, missing: str) -> None:
        super().__init__(
            f"{where} refers to {reference}, which is gone: there is {missing}."
        )


class DuplicateTask(ValueError):
    """Two functions claim one task name."""

    def __init__(self, path: str, first: str, second: str) -> None:
        super().__init__(
            f"The task name {path!r} is used by {first} and by {second}. "
            "Give one of them another name with @background(name=...)."
        )


class AlreadyEnqueued(Exception):
    """The same job is there already, and its task says ``on_conflict="raise"``.

    Args:
        task: what rows call the task.
        job_id: of the job that is there.
    """

    def __init__(self, task: str, job_id: UUID) -> None:
        self.job_id = str(job_id)
        super().__init__(f"{task} is enqueued already, as job {job_id}.")


class InvalidSchedule(ValueError):
    """Something of a schedule cannot be used.

    Args:
        field: the name of what it is.
        problem: the rest of a sentence that begins with the field, and the way out.
    """

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        end = "" if problem.endswith((".", "?")) else "."
        super().__init__(f"{field} {problem}{end}")


class UnknownTask(LookupError):
    """A job names a task that no worker which claimed it has registered."""

    def __init__(self, path: str, grace: timedelta) -> None:
        super().__init__(
            f"No task is registered as {path!r}, and none appeared within {grace}. "
            "Was it renamed or removed? A task is known when its module is the "
            "tasks.py of an installed app or is listed in BGTASKS['IMPORTS']. "
            "Bring it back (or give the new one name="
            f"{path!r}) and retry the job."
        )


class WorkerLost(Exception):
    """The process that ran a job is no more; nobody knows how far the job had come.

    Args:
        how: what became of the worker.
        attempt: the number of the attempt that was lost.
        allowed: attempts that the job has in all.
    """

    def __init__(self, how: str, attempt: int, allowed: int) -> None:
        super().__init__(
            f"{how} while it ran the job, in attempt {attempt} of {allowed}. If that "
            "happens each time, the job may be the cause: it may take more memory than "
            "there is, crash in a C extension, or end the process itself."
        )


class JobFailed(Exception):
    """Raised by ``get()`` of a result: the job FAILED.

    Args:
        result: of the job; its ``errors`` are those of all attempts.
    """

    def __init__(self, result: TaskResult[..., Any]) -> None:
        self.result = result
        attempts = (
            "1 attempt" if result.attempts == 1 else f"{result.attempts} attempts"
        )
        super().__init__(f"{result} FAILED after {attempts}.{_last_error(result)}")


class JobCancelled(Exception):
    """Raised by ``get()`` of a result: the job was CANCELLED.

    Args:
        result: of the job; its ``cancelled_by`` is who wanted it, if that is known.
    """

    def __init__(self, result: TaskResult[..., Any]) -> None:
        self.result = result
        by = f" by {result.cancelled_by}" if result.cancelled_by else ""
        if result.has_expired:
            by = ", for no worker had begun it before it expired"
        super().__init__(f"{result} was CANCELLED{by}.{_last_error(result)}")


def _last_error(result: TaskResult[..., Any]) -> str:
    return f" Its last error: {result.errors[-1].summary}" if result.errors else ""


class WaitInTransaction(RuntimeError):
    """Somebody would wait, in a transaction, for a job that has not ended.

    Args:
        job_id: of the job.
    """

    def __init__(self, job_id: UUID) -> None:
        super().__init__(
            f"The job {job_id} has not ended, and you cannot wait for that in this "
            "transaction: if it was enqueued in there, no worker sees it before the "
            "commit, and workers may have to wait for what the transaction has locked. "
            "Wait behind the end of the atomic() block; in a view with ATOMIC_REQUESTS, "
            "mark it non_atomic_requests."
        )


class Redacted(Exception):
    """Stands in for what a task with sensitive parameters raised, where it is logged.

    Args:
        text: the traceback, without sensitive values.
    """


class ControlFlow(Exception):
    """Base of what a task raises to steer its job; not an error in itself."""


class Retry(ControlFlow):
    """Raised by a task: this attempt failed, try again after ``delay``.

    Args:
        delay: seconds (int or float) or a timedelta; None leaves it to the
            task's back-off.

    The attempt counts: after ``max_attempts`` the job is FAILED.
    """

    def __init__(self, delay: float | timedelta | None = None) -> None:
        self.delay = None if delay is None else as_timedelta(delay)
        super().__init__("The task asked to be retried.")


class Snooze(ControlFlow):
    """Raised by a task: not now, run me again after ``delay``.

    Args:
        delay: seconds (int or float) or a timedelta.

    The attempt does not count.
    """

    def __init__(self, delay: float | timedelta) -> None:
        self.delay = as_timedelta(delay)
        super().__init__(f"The task snoozed for {self.delay}.")


class Cancel(ControlFlow):
    """Raised by a task: there is nothing to do any more; the job ends CANCELLED.

    Args:
        reason: kept on the attempt and shown in the admin.
    """

    def __init__(self, reason: str = "The task cancelled itself.") -> None:
        super().__init__(reason)


class Interrupt(BaseException):
    """Base of what a worker raises inside a running task.

    Not an ``Exception``, so that a task's own ``except Exception`` does not
    swallow it; ``finally`` and ``atomic`` unwind.
    """

    #: In the class, for it is the class that is sent into a thread.
    message = ""

    def __init__(self) -> None:
        super().__init__(self.message)


class TimeLimitExceeded(Interrupt):
    """The attempt ran longer than the task's ``timeout``."""

    message = "The attempt ran longer than its time limit."


class CancelRequested(Interrupt):
    """Somebody cancelled the job while it was running."""

    message = "Somebody cancelled the job while it was running."


class WorkerStopping(Interrupt):
    """The worker stops and the shutdown grace is over; the job is handed back."""

    message = "The worker stops; the job is handed back."


def as_timedelta(delay: float | timedelta) -> timedelta:
    """Seconds or a timedelta, as a timedelta."""
    return delay if isinstance(delay, timedelta) else timedelta(seconds=delay)


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of an error about ``name``: what may have been meant."""
    known = sorted(known)
    return likely(name, known) or f" It may be one of: {', '.join(known)}."


def likely(name: str, known: Iterable[str]) -> str:
    """The same where there are too many to name them all: empty if none is like it."""
    names = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower(), names, n=1)
    return f" Did you mean {names[close[0]]!r}?" if close else ""
