"""Results: Django's read-only snapshot of a job, and what else can be done to the job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar, cast

from asgiref.sync import sync_to_async

from django_bgtasks._framework import TaskResult as BaseTaskResult

if TYPE_CHECKING:
    from django_bgtasks.backend import DatabaseBackend

P = ParamSpec("P")
R = TypeVar("R")

if TYPE_CHECKING:

    class _Base(BaseTaskResult[P, R]): ...

else:
    # Django's own is not generic at run time; the backport's is.
    class _Base(BaseTaskResult, Generic[P, R]):
        __slots__ = ()


@dataclass(frozen=True, kw_only=True)
class TaskResult(_Base[P, R]):  # type: ignore[misc]  # the stubs forget that it is frozen
    """What a job was when it was looked at; ``refresh()`` looks again.

    Has all that Django's has
    (https://docs.djangoproject.com/en/stable/ref/tasks/#task-results).
    """

    def cancel(self, by: object = "") -> bool:
        """Cancel the job, or ask its worker to stop it if it is running.

        A running one is stopped within about a second. This snapshot stays what it
        was until ``refresh()``.

        Args:
            by: who wants it, as kept with the job: a user or any text.

        Returns:
            False if the job was finished already, or is no more.
        """
        backend = cast("DatabaseBackend", self.task.get_backend())
        return backend.cancel(self.id, by)

    async def acancel(self, by: object = "") -> bool:
        """``cancel`` for async code."""
        return await sync_to_async(self.cancel)(by)
