"""Middleware: what wraps every enqueueing and every attempt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeAlias

from django.core.signals import setting_changed
from django.dispatch import receiver

from django_bgtasks.conf import get_settings, import_class
from django_bgtasks.context import TaskContext

if TYPE_CHECKING:
    from django_bgtasks.results import TaskResult
    from django_bgtasks.tasks import Signature

Signatures: TypeAlias = "Sequence[Signature[..., Any]]"
Results: TypeAlias = "list[TaskResult[Any, Any]]"
Enqueue: TypeAlias = Callable[[Signatures], Results]
Run: TypeAlias = Callable[[], Any]
AsyncRun: TypeAlias = Callable[[], Awaitable[Any]]


class Middleware:
    """Wraps what it overrides; listed in ``BGTASKS["MIDDLEWARE"]``, the outermost first.

    One instance serves all threads of a process. What a method raises comes out where
    the wrapped call would raise it: at the caller who enqueues, or as the error of the
    attempt.
    """

    def enqueue(self, signatures: Signatures, enqueue: Enqueue) -> Results:
        """Wrap an enqueueing.

        Args:
            signatures: what is to be enqueued: one, or a batch of ``enqueue_many``.
                Pass others on to change them: ``signature.using(metadata=...)``.
            enqueue: does it.

        Returns:
            What ``enqueue`` returned: a result for each signature, or none if whoever
            enqueues many has asked for none.
        """
        return enqueue(signatures)

    def attempt(self, context: TaskContext, run: Run) -> Any:
        """Wrap an attempt, in the thread that runs it, of an ``async def`` task too.

        Within the time limit of a plain function, and within its transaction if it is
        ``atomic``.

        Args:
            context: the context of the attempt, whether or not the task takes one.
            run: runs the task, and returns what it returns.

        Returns:
            What the job is to return.
        """
        return run()

    async def aattempt(self, context: TaskContext, run: AsyncRun) -> Any:
        """Wrap an attempt of an ``async def`` task on its event loop.

        Where it is overridden, ``attempt`` is left out for such tasks.
        """
        return await run()


def around_enqueue(signatures: Signatures, enqueue: Enqueue) -> Results:
    """Enqueue ``signatures`` through all middleware."""
    for middleware in reversed(installed()):
        if _overrides(middleware, "enqueue"):
            enqueue = partial(middleware.enqueue, enqueue=enqueue)
    return enqueue(signatures)


@lru_cache(maxsize=1)
def wraps_attempts() -> bool:
    """Whether there is any middleware that wraps attempts; asked for every one."""
    return any(
        _overrides(middleware, "attempt") or _overrides(middleware, "aattempt")
        for middleware in installed()
    )


def around_attempt(context: TaskContext, run: Run, *, is_async: bool) -> Any:
    """Run an attempt through the middleware that works in its thread.

    Args:
        is_async: whether ``run`` awaits an ``async def`` task elsewhere.
    """
    for middleware in reversed(installed()):
        if is_async and _overrides(middleware, "aattempt"):
            continue
        if _overrides(middleware, "attempt"):
            run = partial(middleware.attempt, context, run)
    return run()


async def around_async_attempt(context: TaskContext, run: AsyncRun) -> Any:
    """Await an attempt through the middleware that works on its event loop."""
    for middleware in reversed(installed()):
        if _overrides(middleware, "aattempt"):
            run = partial(middleware.aattempt, context, run)
    return await run()


@lru_cache(maxsize=1)
def installed() -> tuple[Middleware, ...]:
    """What ``BGTASKS["MIDDLEWARE"]`` lists, the outermost first.

    Raises:
        InvalidSetting: something in it is no middleware.
    """
    return tuple(
        import_class("MIDDLEWARE", path, Middleware)()
        for path in get_settings().middleware
    )


def _overrides(middleware: Middleware, name: str) -> bool:
    return getattr(type(middleware), name) is not getattr(Middleware, name)


@receiver(setting_changed)
def _forget_middleware(*, setting: str, **kwargs: Any) -> None:
    if setting == "BGTASKS":
        installed.cache_clear()
        wraps_attempts.cache_clear()
