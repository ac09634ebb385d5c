"""When to try again: back-off after a failed attempt. Nothing here touches a row."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from django_bgtasks.exceptions import as_timedelta

if TYPE_CHECKING:
    from django_bgtasks.results import TaskResult

#: ``(exception, task_result)`` to seconds, or None to give up.
BackoffCallable: TypeAlias = Callable[
    [BaseException, "TaskResult[Any, Any]"], "float | timedelta | None"
]
Backoff: TypeAlias = (
    "float | timedelta | Sequence[float | timedelta] | RetryPolicy | BackoffCallable"
)


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Exponential back-off with full jitter.

    The delay before attempt n + 1 is drawn evenly from 0 to
    ``min(cap, base * factor ** (n - 1))`` seconds. Full jitter keeps a crowd of
    jobs that failed together from coming back together
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).

    Args:
        base: seconds before the second attempt, at the most.
        factor: growth from one attempt to the next.
        cap: the longest delay, in seconds.
        jitter: False waits the whole delay each time.
    """

    base: float = 5.0
    factor: float = 2.0
    cap: float = 3600.0
    jitter: bool = True

    def __post_init__(self) -> None:
        if self.base < 0 or self.factor < 1 or self.cap < 0:
            raise ValueError(
                "A RetryPolicy needs base >= 0, factor >= 1 and cap >= 0 seconds; "
                f"got base={self.base}, factor={self.factor}, cap={self.cap}."
            )

    def delay(self, attempt: int) -> timedelta:
        """The time to wait after ``attempt`` (counted from 1) failed."""
        try:
            longest = min(self.cap, self.base * self.factor ** (attempt - 1))
        except OverflowError:
            longest = self.cap
        return timedelta(
            seconds=random.uniform(0, longest) if self.jitter else longest  # noqa: S311 (jitter is no secret)
        )


def delay_after(
    backoff: Backoff, error: BaseException, task_result: TaskResult[Any, Any]
) -> timedelta | None:
    """The time to wait before the next attempt, or None to give up.

    Args:
        backoff: seconds or a timedelta (always the same), a sequence of them (one
            for each retry, the last one repeats), a ``RetryPolicy``, or a callable
            ``(exception, task_result)`` that returns one delay or None.
        error: what the attempt raised.
        task_result: the job as it stands; ``attempts`` counts this attempt.
    """
    if isinstance(backoff, RetryPolicy):
        return backoff.delay(task_result.attempts)
    if isinstance(backoff, Sequence):
        index = min(task_result.attempts, len(backoff)) - 1
        return as_timedelta(backoff[index])
    if isinstance(backoff, (int, float, timedelta)):
        return as_timedelta(backoff)
    delay = backoff(error, task_result)
    return None if delay is None else as_timedelta(delay)


def check_backoff(backoff: object) -> None:
    """Raise TypeError or ValueError if ``backoff`` is not a usable back-off."""
    if isinstance(backoff, RetryPolicy) or callable(backoff):
        return
    delays = backoff if isinstance(backoff, (list, tuple)) else [backoff]
    if not delays:
        raise ValueError("backoff is an empty list; give at least one delay.")
    for delay in delays:
        if isinstance(delay, bool) or not isinstance(delay, (int, float, timedelta)):
            raise TypeError(
                f"backoff is {backoff!r}; it must be seconds, a timedelta, a list of "
                "them, a RetryPolicy or a callable (exception, task_result)."
            )
        if as_timedelta(delay) < timedelta(0):
            raise ValueError(f"backoff is {backoff!r}; a delay cannot be negative.")
