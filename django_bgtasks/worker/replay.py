"""A job's call made here and now, for somebody who looks on. The row learns nothing."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from django_bgtasks._framework import TaskResultStatus
from django_bgtasks.arguments import normalize_result, restore_call
from django_bgtasks.backend import build_result
from django_bgtasks.context import Run, TaskContext
from django_bgtasks.models import Job
from django_bgtasks.results import TaskResult
from django_bgtasks.store.engines import get_engine
from django_bgtasks.tasks import INLINE, Task, with_row_options


def replay(job: Job, task: Task[Any, Any]) -> Any:
    """Call the function of a job as its last attempt did, or as its first will.

    What the function does is done: only the row stays as it is. There is no time limit
    and no middleware, progress goes nowhere, and nobody can cancel it.

    Args:
        job: as its row is.
        task: what it names.

    Returns:
        The result that a worker would store.

    Raises:
        NotJSON: the result cannot be stored; and whatever the function raises.
    """
    args, kwargs = restore_call(job.args, job.kwargs)
    with get_engine().transaction() if task.atomic else nullcontext():
        value = task.call(*_first(job, task), *args, **kwargs)
        return normalize_result(value)


def _first(job: Job, task: Task[Any, Any]) -> list[TaskContext]:
    if not task.takes_context:
        return []
    run = Run(job.metadata or {}, job.max_attempts, job.scheduled_for)
    return [TaskContext(task_result=_result(job, task), run=run)]


def _result(job: Job, task: Task[Any, Any]) -> TaskResult[Any, Any]:
    """The job as it was in its last attempt."""
    result = build_result(job, with_row_options(task, job))
    return replace(
        result,
        status=TaskResultStatus.RUNNING,
        finished_at=None,
        worker_ids=result.worker_ids or [INLINE],
    )
