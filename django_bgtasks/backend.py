"""The backend for ``settings.TASKS``, and what ``@background`` uses without one.

Django makes backends while it imports task modules, before models may be imported;
the store is therefore reached inside functions here, and nowhere else so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django_bgtasks import timing
from django_bgtasks._framework import (
    DEFAULT_TASK_BACKEND_ALIAS,
    BaseTaskBackend,
    InvalidTask,
    TaskError,
    TaskResultDoesNotExist,
    TaskResultStatus,
    is_heard,
    task_backends,
    task_enqueued,
)
from django_bgtasks._framework import Task as BaseTask
from django_bgtasks.arguments import normalize_call
from django_bgtasks.results import TaskResult
from django_bgtasks.tasks import (
    PATH_LIMIT,
    QUEUE_LIMIT,
    Signature,
    Task,
    adopt,
    find_task,
    task_path,
    with_row_options,
)

if TYPE_CHECKING:
    from django_bgtasks.models import Job

_STATUS_FOR_DJANGO = {
    "SCHEDULED": TaskResultStatus.READY,
    "READY": TaskResultStatus.READY,
    "RUNNING": TaskResultStatus.RUNNING,
    "SUCCESSFUL": TaskResultStatus.SUCCESSFUL,
    "FAILED": TaskResultStatus.FAILED,
    "CANCELLED": TaskResultStatus.FAILED,
}


class DatabaseBackend(BaseTaskBackend):
    """Keeps tasks as rows of the project's database.

    ``QUEUES``, if given, names the queues that may be used; without it, any may.
    """

    task_class = Task
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, {"QUEUES": [], **params})

    def validate_task(self, task: BaseTask[Any, Any]) -> None:
        """Raise InvalidTask if ``task`` cannot be run by this backend."""
        super().validate_task(task)
        path = task_path(task)
        if len(path) > PATH_LIMIT:
            raise InvalidTask(
                f"The task name {path!r} is longer than {PATH_LIMIT} characters; "
                "give a shorter one with @background(name=...)."
            )
        if not 0 < len(task.queue_name) <= QUEUE_LIMIT:
            raise InvalidTask(
                f"queue_name of {path} is {task.queue_name!r}; it must have 1 to "
                f"{QUEUE_LIMIT} characters."
            )

    def enqueue(
        self, task: BaseTask[Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> TaskResult[Any, Any]:
        """Write a job, in the caller's transaction if there is one.

        Raises:
            InvalidTask: the task cannot be run by this backend.
            TypeError: the arguments do not fit the function.
            NotJSON: an argument cannot be JSON.
        """
        from django_bgtasks.store import lifecycle  # noqa: PLC0415 (see the module's docstring)

        self.validate_task(task)
        options = adopt(task)
        make = lifecycle.job_maker(options, self.alias, timing.now())
        job = make(*_checked(options, args, kwargs))
        lifecycle.enqueue([job])
        result = build_result(job, task)
        task_enqueued.send(type(self), task_result=result)
        return result

    def enqueue_many(
        self, signatures: Sequence[Signature[..., Any]], *, results: bool
    ) -> list[TaskResult[Any, Any]]:
        """Write jobs in one statement, in the caller's transaction if there is one.

        Args:
            signatures: of tasks that are valid for this backend.
            results: whether to return a TaskResult for each; else nothing is.

        Raises:
            TypeError, NotJSON: as ``enqueue``; then nothing is written.
        """
        from django_bgtasks.store import lifecycle  # noqa: PLC0415 (see the module's docstring)

        tasks = {id(s.task): s.task for s in signatures}
        now = timing.now()
        make = {
            key: lifecycle.job_maker(task, self.alias, now)
            for key, task in tasks.items()
        }
        jobs = [
            make[id(s.task)](*_checked(s.task, s.args, s.kwargs)) for s in signatures
        ]
        lifecycle.enqueue(jobs)
        is_told = is_heard(task_enqueued, logging.DEBUG)
        if not (results or is_told):
            return []
        made = [build_result(j, s.task) for j, s in zip(jobs, signatures, strict=True)]
        if is_told:
            for result in made:
                task_enqueued.send(type(self), task_result=result)
        return made if results else []

    def get_result(self, result_id: str) -> TaskResult[Any, Any]:
        """The job with this id as Django's TaskResult.

        Raises:
            TaskResultDoesNotExist: there is no such job, or its task is not known
                here.
        """
        from django_bgtasks.models import Job  # noqa: PLC0415 (see the module's docstring)

        job_id = _parse_id(result_id)
        job = None if job_id is None else Job.objects.filter(pk=job_id).first()
        if job is None:
            raise TaskResultDoesNotExist(result_id)
        task = find_task(job.task)
        if task is None:
            raise TaskResultDoesNotExist(
                f"{result_id} is a job of {job.task}, which is no registered task."
            )
        return build_result(job, with_row_options(task, job))

    def cancel(self, result_id: str, by: object = "") -> bool:
        """Cancel the job with this id; see ``TaskResult.cancel``."""
        from django_bgtasks.models import Job  # noqa: PLC0415 (see the module's docstring)

        return any(Job.objects.filter(pk=result_id).cancel(by))


def backend_for(alias: str) -> BaseTaskBackend:
    """The backend of a ``@background`` task that names ``alias``.

    The default alias always means the database: where ``TASKS`` says something else
    for it, or nothing, a backend of our own with default parameters serves.
    """
    if alias == DEFAULT_TASK_BACKEND_ALIAS:
        configured = alias in task_backends.settings and task_backends[alias]
        return configured if isinstance(configured, DatabaseBackend) else _built_in()
    return task_backends[alias]


@lru_cache(maxsize=1)
def _built_in() -> DatabaseBackend:
    return DatabaseBackend(DEFAULT_TASK_BACKEND_ALIAS, {})


def build_result(job: Job, task: BaseTask[Any, Any]) -> TaskResult[Any, Any]:
    """``job`` as Django's snapshot; reads its failed attempts if it has any."""
    # The first run has none behind it, which saves most jobs the query.
    unrecorded = job.status in ("RUNNING", "SUCCESSFUL")
    past = list(job.attempts.all()) if job.attempt > int(unrecorded) else []
    worker_ids = [str(attempt.worker) for attempt in past]
    if unrecorded:
        worker_ids.append(str(job.last_worker))
    result: TaskResult[Any, Any] = TaskResult(
        task=task,
        id=str(job.pk),
        status=_STATUS_FOR_DJANGO[job.status],
        enqueued_at=job.enqueued_at,
        started_at=past[0].started_at if past else job.started_at,
        finished_at=job.finished_at,
        last_attempted_at=job.started_at,
        args=job.args,
        kwargs=job.kwargs,
        backend=job.backend,
        errors=[
            TaskError(
                exception_class_path=attempt.exception_class_path,
                traceback=attempt.traceback,
            )
            for attempt in past
        ],
        worker_ids=worker_ids,
    )
    # Django's own way: the field takes no part in __init__, and the class is frozen.
    object.__setattr__(result, "_return_value", job.result)
    return result


def announce(jobs: Iterable[Job]) -> None:
    """Send Django's ``task_enqueued`` for jobs that no caller has enqueued.

    Errors of receivers are logged.
    """
    if not is_heard(task_enqueued, logging.DEBUG):
        return
    for job in jobs:
        task = find_task(job.task)
        if task is not None:
            result = build_result(job, with_row_options(task, job))
            task_enqueued.send_robust(DatabaseBackend, task_result=result)


def _checked(
    task: Task[Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    task.check_arguments(args, kwargs)
    return normalize_call(args, kwargs)


def _parse_id(result_id: str) -> UUID | None:
    try:
        return UUID(str(result_id))
    except ValueError:
        return None
