"""What a task with ``takes_context=True`` is given first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from asgiref.sync import sync_to_async

from django_bgtasks._framework import TaskContext as BaseTaskContext
from django_bgtasks.arguments import normalize
from django_bgtasks.outcomes import storable

Progress: TypeAlias = dict[str, Any]


def _report_nowhere(progress: Progress) -> None:
    """Inline calls have no row to write to."""


if TYPE_CHECKING:

    class _Base(BaseTaskContext[Any, Any]): ...

else:
    _Base = BaseTaskContext


@dataclass(frozen=True, kw_only=True)
class TaskContext(_Base):  # type: ignore[misc]  # the stubs forget that it is frozen
    """Django's task context (``task_result``, ``attempt``) with progress reports."""

    report: Callable[[Progress], None] = field(default=_report_nowhere, repr=False)

    def progress(
        self, done: float, total: float | None = None, message: str = ""
    ) -> None:
        """Record how far the task is; shown wherever the job is shown.

        Cheap to call often: writes are thinned out to about two a second, and the
        last one (``done`` has reached ``total``) is always written.

        Args:
            done: units of work done so far.
            total: units of work in all, if known.
            message: a few words on what is happening; cut at 200 characters.

        Raises:
            NotJSON: ``done`` or ``total`` is no number that JSON has.
        """
        self.report(
            {
                "done": normalize(done, "done"),
                "total": normalize(total, "total"),
                "message": storable(str(message))[:200],
            }
        )

    async def aprogress(
        self, done: float, total: float | None = None, message: str = ""
    ) -> None:
        """``progress`` for ``async`` tasks."""
        await sync_to_async(self.progress)(done, total, message)
