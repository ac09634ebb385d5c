"""What a task with ``takes_context=True`` is given first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from asgiref.sync import sync_to_async

from django_bgtasks._framework import TaskContext as BaseTaskContext
from django_bgtasks.arguments import normalize
from django_bgtasks.exceptions import NotJSON
from django_bgtasks.outcomes import bounded

Progress: TypeAlias = dict[str, Any]

#: Characters of a message that are kept.
MESSAGE_LIMIT = 200
#: Enough to count bytes, and no more than a progress bar can divide.
NUMBER_LIMIT = 2**63


def _report_nowhere(progress: Progress) -> None:
    """Inline calls have no row to write to."""


def _is_not_cancelled() -> bool:
    """Nobody can cancel an inline call."""
    return False


if TYPE_CHECKING:

    class _Base(BaseTaskContext[Any, Any]): ...

else:
    _Base = BaseTaskContext


@dataclass(frozen=True, kw_only=True)
class TaskContext(_Base):  # type: ignore[misc]  # the stubs forget that it is frozen
    """Django's task context (``task_result``, ``attempt``) with progress reports."""

    report: Callable[[Progress], None] = field(default=_report_nowhere, repr=False)
    ask: Callable[[], bool] = field(default=_is_not_cancelled, repr=False)
    #: The moment for which the scheduler made this job, however late it runs; None if
    #: it did not, or if somebody chose "run now".
    scheduled_for: datetime | None = None

    @property
    def cancelled(self) -> bool:
        """Whether somebody has cancelled the job, which a task may heed by returning.

        A task that has looked once is trusted to look again: it is not interrupted
        before ``BGTASKS["INTERRUPT_GRACE"]`` is over. If it returns after it has seen
        True, the job ends CANCELLED. Cheap to look at often; up to date within about
        a second.
        """
        return self.ask()

    def progress(
        self, done: float, total: float | None = None, message: str = ""
    ) -> None:
        """Record how far the task is; shown wherever the job is shown.

        Cheap to call often: writes are thinned out to about two a second, and the
        last one (``done`` has reached ``total``) is always written.

        Args:
            done: units of work done so far.
            total: units of work in all, if known.
            message: a few words on what is happening; of more than 200 characters,
                the middle is cut out.

        Raises:
            NotJSON: ``done`` or ``total`` is no number, or one of more than 64 bits.
        """
        self.report(
            {
                "done": _number(done, "done"),
                "total": None if total is None else _number(total, "total"),
                "message": bounded(str(message), MESSAGE_LIMIT),
            }
        )

    async def aprogress(
        self, done: float, total: float | None = None, message: str = ""
    ) -> None:
        """``progress`` for ``async`` tasks."""
        await sync_to_async(self.progress)(done, total, message)


def _number(value: float, where: str) -> float:
    value = normalize(value, where)
    if not isinstance(value, (int, float)) or abs(value) > NUMBER_LIMIT:
        raise NotJSON(f"{where} must be a number of at most 64 bits.")
    return value
