"""What a task with ``takes_context=True`` is given first."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from asgiref.sync import sync_to_async

from django_bgtasks._framework import TaskContext as BaseTaskContext
from django_bgtasks.arguments import normalize
from django_bgtasks.exceptions import NotJSON
from django_bgtasks.labels import as_metadata
from django_bgtasks.outcomes import bounded

if TYPE_CHECKING:
    from django_bgtasks.results import TaskResult
    from django_bgtasks.tasks import Signature

Progress: TypeAlias = dict[str, Any]

R = TypeVar("R")

#: Characters of a message that are kept.
MESSAGE_LIMIT = 200
#: Enough to count bytes, and no more than a progress bar can divide.
NUMBER_LIMIT = 2**63


class Run:
    """What a context asks of the run that it belongs to.

    This one is of a call that was made inline: what it is told it keeps to itself, and
    nobody can cancel it.

    Args:
        metadata: what is noted on the job.
        max_attempts: how many it has in all.
        scheduled_for: the moment for which the scheduler made it.
    """

    #: When the time limit is over; None without one.
    deadline: datetime | None = None

    def __init__(
        self,
        metadata: Mapping[str, Any],
        max_attempts: int = 1,
        scheduled_for: datetime | None = None,
    ) -> None:
        self.max_attempts = max_attempts
        self.scheduled_for = scheduled_for
        self._metadata = dict(metadata)

    @property
    def metadata(self) -> dict[str, Any]:
        """What is noted on the job."""
        return self._metadata

    def is_cancelled(self) -> bool:
        """Whether somebody has cancelled the job."""
        return False

    def report(self, progress: Progress) -> None:
        """Take note of how far it is."""

    def note(self, metadata: dict[str, Any]) -> None:
        """Note this on the job, in place of what was there."""
        self._metadata = metadata


if TYPE_CHECKING:

    class _Base(BaseTaskContext[Any, Any]): ...

else:
    _Base = BaseTaskContext


@dataclass(frozen=True, kw_only=True)
class TaskContext(_Base):  # type: ignore[misc]  # the stubs forget that it is frozen
    """Django's task context (``task_result``, ``attempt``), and what else a job knows.

    All of it works in a call by ``now()``, too, which has no row to write to.
    """

    run: Run = field(default_factory=lambda: Run({}), repr=False)
    #: Tasks whose jobs are follow-ups, by the identity of those that they come from.
    _tied: dict[int, tuple[Any, Any]] = field(
        default_factory=dict, repr=False, compare=False, init=False
    )

    @property
    def job_id(self) -> str:
        """The id of the job, as its result has it; "inline" without one."""
        return str(self.task_result.id)

    @property
    def max_attempts(self) -> int:
        """How many attempts the job has in all; this one is ``attempt``."""
        return self.run.max_attempts

    @property
    def deadline(self) -> datetime | None:
        """When this attempt is interrupted by its ``timeout``; None without one."""
        return self.run.deadline

    @property
    def scheduled_for(self) -> datetime | None:
        """The moment for which the scheduler made this job, however late it runs.

        None if it did not, or if somebody chose "run now".
        """
        return self.run.scheduled_for

    @property
    def cancelled(self) -> bool:
        """Whether somebody has cancelled the job, which a task may heed by returning.

        A task that has looked once is trusted to look again: it is not interrupted
        before ``BGTASKS["INTERRUPT_GRACE"]`` is over. If it returns after it has seen
        True, the job ends CANCELLED. Cheap to look at often; up to date within about
        a second.
        """
        return self.run.is_cancelled()

    @property
    def metadata(self) -> dict[str, Any]:
        """What is noted on the job; a copy, see ``update_metadata``."""
        return dict(self.run.metadata)

    def update_metadata(self, **notes: Any) -> None:
        """Note something on the job, beside what is noted there or in its place.

        It is written at once; for what changes all the time there is ``progress``.

        Args:
            notes: what to note, by name; plain JSON.

        Raises:
            NotJSON: it cannot be JSON.
            InvalidTask: it is too much.
        """
        self.run.note(as_metadata({**self.run.metadata, **notes}))

    async def aupdate_metadata(self, **notes: Any) -> None:
        """``update_metadata`` for ``async`` tasks."""
        await sync_to_async(self.update_metadata)(**notes)

    def tie(self, signature: Signature[..., R]) -> Signature[..., R]:
        """``signature`` as a follow-up of this job, for ``enqueue_many``."""
        task = signature.task
        # Many jobs of one task are enqueued faster if it is the same object.
        if id(task) not in self._tied:
            self._tied[id(task)] = task, task.child_of(self.job_id)
        return replace(signature, task=self._tied[id(task)][1])

    def enqueue(self, signature: Signature[..., R]) -> TaskResult[..., R]:
        """Enqueue a follow-up, which is shown with this job and knows it as its parent.

        At once, whatever becomes of this attempt; of an ``atomic`` task with its commit.

        Args:
            signature: what to run, such as ``send.s(42)``.

        Raises:
            Exception: what ``Task.enqueue`` raises.
        """
        return self.tie(signature).enqueue()

    async def aenqueue(self, signature: Signature[..., R]) -> TaskResult[..., R]:
        """``enqueue`` for ``async`` tasks."""
        return await sync_to_async(self.enqueue)(signature)

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """The logger of the task's module; its lines begin with the id of the job.

        They carry ``job_id``, ``task`` and ``attempt`` as ``extra``, too.
        """
        task = self.task_result.task
        facts = {
            "job_id": self.job_id,
            "task": getattr(task, "path", task.module_path),
            "attempt": self.attempt,
        }
        return _JobLogger(logging.getLogger(task.func.__module__), facts)

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
        self.run.report(
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


class _JobLogger(logging.LoggerAdapter[logging.Logger]):
    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        facts = self.extra or {}
        kwargs["extra"] = {**facts, **(kwargs.get("extra") or {})}
        return f"{facts['job_id']}: {msg}", kwargs


def _number(value: float, where: str) -> float:
    value = normalize(value, where)
    if not isinstance(value, (int, float)) or abs(value) > NUMBER_LIMIT:
        raise NotJSON(f"{where} must be a number of at most 64 bits.")
    return value
