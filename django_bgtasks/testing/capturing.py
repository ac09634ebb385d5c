"""What was enqueued in a stretch of a test, and how to assert it."""

from __future__ import annotations

import inspect
from typing import Any, TypeAlias

from django.test.utils import TestContextDecorator

from django_bgtasks._framework import Task as BaseTask
from django_bgtasks.arguments import normalize_call
from django_bgtasks.exceptions import suggestion
from django_bgtasks.models import Job
from django_bgtasks.tasks import Signature, task_path
from django_bgtasks.testing import listening

Wanted: TypeAlias = "BaseTask[Any, Any] | Signature[..., Any]"


class CapturedJobs(list[Job]):
    """Jobs in the order in which they were enqueued."""

    def of(self, wanted: Wanted, **columns: Any) -> CapturedJobs:
        """Those of a task, or of one call of it.

        Args:
            wanted: a task, for any call of it; or a signature, such as ``send.s(42)``,
                for that call, by whichever keywords it was made.
            columns: what columns of the row shall be, such as ``queue="mail"``.

        Raises:
            TypeError: a job has no such column.
        """
        _check_columns(columns)
        return CapturedJobs(job for job in self if _is(job, wanted, columns))

    def assert_enqueued(
        self, wanted: Wanted, *, times: int | None = None, **columns: Any
    ) -> CapturedJobs:
        """Fail unless such a job was enqueued.

        Args:
            wanted: as for ``of``.
            times: exactly so many of them; None: one or more.
            columns: as for ``of``.

        Returns:
            Those jobs.

        Raises:
            AssertionError: with a list of what was enqueued instead.
        """
        found = self.of(wanted, **columns)
        if len(found) == times or (times is None and found):
            return found
        expected = "once or more" if times is None else f"{times} times"
        raise AssertionError(
            f"Expected {expected}: {_told(wanted, columns)}; "
            f"found {len(found)}.\n{self._listed()}"
        )

    def assert_not_enqueued(self, wanted: Wanted, **columns: Any) -> None:
        """Fail if such a job was enqueued; arguments as for ``of``."""
        self.assert_enqueued(wanted, times=0, **columns)

    def assert_nothing_enqueued(self) -> None:
        """Fail if any job was enqueued."""
        if self:
            raise AssertionError(f"Expected no job.\n{self._listed()}")

    def _listed(self) -> str:
        lines = [f"\n  {_told_job(job)}" for job in self]
        return f"Enqueued: {''.join(lines) or 'nothing'}"


class capture_jobs(TestContextDecorator):  # noqa: N801 (named as Django names these: override_settings)
    """Collect what is enqueued meanwhile; rows are written as ever.

    ::

        with capture_jobs() as jobs:
            client.post("/orders/", order)
        jobs.assert_enqueued(send_receipt.s(7), queue="mail")

    A context manager, and a decorator of tests, ``async`` ones too, and of classes of
    them.

    Args:
        kwarg_name: the keyword by which a decorated test is given the ``CapturedJobs``.
        attr_name: the attribute that has them in a decorated class.
    """

    def __init__(
        self, *, kwarg_name: str | None = None, attr_name: str | None = None
    ) -> None:
        super().__init__(kwarg_name=kwarg_name, attr_name=attr_name)

    def __enter__(self) -> CapturedJobs:  # type: ignore[override]  # the stubs know one use of it only
        return self.enable()

    def enable(self) -> CapturedJobs:
        jobs = CapturedJobs()
        self._listener = jobs.append
        listening.look(self._listener)
        return jobs

    def disable(self) -> None:
        listening.stop(self._listener)


def _check_columns(columns: dict[str, Any]) -> None:
    known = {field.name for field in Job._meta.concrete_fields}
    for name in columns:
        if name not in known:
            raise TypeError(f"A job has no column {name!r}.{suggestion(name, known)}")


def _is(job: Job, wanted: Wanted, columns: dict[str, Any]) -> bool:
    task = wanted.task if isinstance(wanted, Signature) else wanted
    if job.task != task_path(task):
        return False
    if isinstance(wanted, Signature):
        call = normalize_call(wanted.args, wanted.kwargs)
        if _bound(task, *call) != _bound(task, job.args, job.kwargs):
            return False
    return all(getattr(job, name) == value for name, value in columns.items())


def _bound(task: BaseTask[Any, Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
    """A call by the names of its parameters: ``f(1)`` and ``f(a=1)`` are the same."""
    context = [None] if task.takes_context else []
    try:
        bound = inspect.signature(task.func).bind(*context, *args, **kwargs)
    except TypeError:
        # Of a function that a decorator gives other parameters.
        return args, kwargs
    bound.apply_defaults()
    return bound.arguments


def _told(wanted: Wanted, columns: dict[str, Any]) -> str:
    options = "".join(f", {name}={value!r}" for name, value in columns.items())
    if isinstance(wanted, Signature):
        return _call(task_path(wanted.task), wanted.args, wanted.kwargs) + options
    return f"{task_path(wanted)}(...){options}"


def _told_job(job: Job) -> str:
    told = f"{_call(job.task, job.args, job.kwargs)}, queue={job.queue!r}"
    if job.priority:
        told += f", priority={job.priority}"
    if job.run_after is not None:
        told += f", run_after={job.run_after}"
    return told


def _call(path: str, args: Any, kwargs: Any) -> str:
    shown = [repr(value) for value in args]
    shown += [f"{name}={value!r}" for name, value in kwargs.items()]
    return f"{path}({', '.join(shown)})"
