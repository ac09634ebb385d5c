"""The backend for ``settings.TASKS``, and what ``@background`` uses without one.

Django makes backends while it imports task modules, before models may be imported;
the store is therefore reached inside functions here, and nowhere else so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django_bgtasks import timing
from django_bgtasks._framework import (
    DEFAULT_TASK_BACKEND_ALIAS,
    BaseTaskBackend,
    InvalidTask,
    TaskResultDoesNotExist,
    TaskResultStatus,
    is_heard,
    task_backends,
    task_enqueued,
)
from django_bgtasks._framework import Task as BaseTask
from django_bgtasks.arguments import normalize_call
from django_bgtasks.encoding import decode_known
from django_bgtasks.limits import OnConflict
from django_bgtasks.middleware import around_enqueue
from django_bgtasks.options import can_be_addressed
from django_bgtasks.results import TaskError, TaskResult
from django_bgtasks.signals import job_enqueued
from django_bgtasks.tasks import (
    PATH_LIMIT,
    QUEUE_LIMIT,
    DjangoTask,
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

    task_class = DjangoTask
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
        if len(task.queue_name) > QUEUE_LIMIT or not can_be_addressed(task.queue_name):
            raise InvalidTask(
                f"queue_name of {path} is {task.queue_name!r}; it must have 1 to "
                f"{QUEUE_LIMIT} characters, and not only dots and spaces."
            )

    def enqueue(
        self, task: BaseTask[Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> TaskResult[Any, Any]:
        """Write a job, in the caller's transaction if there is one.

        Raises:
            InvalidTask: the task cannot be run by this backend.
            TypeError: the arguments do not fit the function.
            NotJSON: an argument cannot be JSON.
            AlreadyEnqueued: its like is there, and the task says "raise".
        """
        self.validate_task(task)
        options = adopt(task)
        signature: Signature[..., Any] = Signature(options, args, kwargs)
        results = self.enqueue_many([signature], results=True)
        if len(results) != 1:
            raise TypeError(
                f"Some middleware made {len(results)} results of the enqueueing of one "
                f"job of {options.path}; it must return what enqueue() has returned."
            )
        if options is not task:
            # Django's plain task shall see its like again.
            object.__setattr__(results[0], "task", task)
        return results[0]

    def enqueue_many(
        self, signatures: Sequence[Signature[..., Any]], *, results: bool
    ) -> list[TaskResult[Any, Any]]:
        """Write jobs in one statement, in the caller's transaction if there is one.

        Args:
            signatures: of tasks that are valid for this backend.
            results: whether to return a TaskResult for each; else nothing is.

        Raises:
            TypeError, NotJSON, AlreadyEnqueued: as ``enqueue``; then nothing is written.
        """
        return around_enqueue(signatures, partial(self._write, results=results))

    def _write(
        self, signatures: Sequence[Signature[..., Any]], *, results: bool
    ) -> list[TaskResult[Any, Any]]:
        from django_bgtasks.store import lifecycle  # noqa: PLC0415 (see the module's docstring)

        now = timing.now()
        makers: dict[int, Callable[..., Job]] = {}
        policies: dict[UUID, OnConflict] = {}
        jobs = []
        for signature in signatures:
            task = signature.task
            # By identity: to compare tasks takes longer than to write a job.
            make = makers.get(id(task))
            if make is None:
                make = makers[id(task)] = lifecycle.job_maker(task, self.alias, now)
            job = make(*_checked(task, signature.args, signature.kwargs))
            jobs.append(job)
            if job.unique_key is not None:
                policies[job.id] = task.on_conflict
        standing = lifecycle.enqueue(jobs, policies)
        if job_enqueued.receivers:
            for job, stands in zip(jobs, standing, strict=True):
                if stands is job:
                    job_enqueued.send(type(job), job=job)
        is_told = is_heard(task_enqueued, logging.DEBUG)
        if not (results or is_told):
            return []
        made = []
        for job, stands, signature in zip(jobs, standing, signatures, strict=True):
            if stands is not job:
                made.append(_deduplicated(stands, signature.task))
                continue
            made.append(build_result(job, signature.task))
            if is_told:
                task_enqueued.send(type(self), task_result=made[-1])
        return made if results else []

    def get_result(self, result_id: str) -> TaskResult[Any, Any]:
        """The job with this id as Django's TaskResult.

        Raises:
            TaskResultDoesNotExist: there is no such job, or its task is not known
                here.
        """
        result = self.find_result(result_id)
        if result is None:
            raise TaskResultDoesNotExist(
                f"There is no job {result_id}. Was it pruned? BGTASKS['RETENTION'] says "
                "how long finished jobs are kept."
            )
        return result

    def find_result(self, result_id: str) -> TaskResult[Any, Any] | None:
        """As ``get_result``, but None if there is no such job."""
        from django_bgtasks.models import Job  # noqa: PLC0415 (see the module's docstring)
        from django_bgtasks.store.engines import get_engine  # noqa: PLC0415 (as above)

        job_id = _parse_id(result_id)
        if job_id is None:
            return None
        # Where they are written: a replica may not have heard of the job, or its end.
        job = Job.objects.using(get_engine().alias).filter(pk=job_id).first()
        if job is None:
            return None
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

    def retry(self, result_id: str) -> bool:
        """Retry the job with this id; see ``TaskResult.retry``."""
        from django_bgtasks.models import Job  # noqa: PLC0415 (see the module's docstring)

        return Job.objects.filter(pk=result_id).retry() > 0

    def wait_for_end(self, result_id: str, deadline: float | None) -> bool:
        """Wait until the job with this id has ended; see ``waiting.wait_for_end``."""
        from django_bgtasks.store import waiting  # noqa: PLC0415 (see the module's docstring)

        return waiting.wait_for_end(UUID(result_id), deadline)

    async def await_end(self, result_id: str, deadline: float | None) -> bool:
        """``wait_for_end`` for async code."""
        from django_bgtasks.store import waiting  # noqa: PLC0415 (see the module's docstring)

        return await waiting.await_end(UUID(result_id), deadline)


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
    # A worker knows of the row what it needs, and asks for no more.
    known = job.__dict__
    if unrecorded:
        worker_ids.append(str(job.last_worker))
    result: TaskResult[Any, Any] = TaskResult(
        task=task,
        id=str(job.id),
        status=_STATUS_FOR_DJANGO[job.status],
        enqueued_at=job.enqueued_at,
        started_at=past[0].started_at if past else job.started_at,
        finished_at=job.finished_at,
        last_attempted_at=job.started_at,
        args=decode_known(job.args),
        kwargs={key: decode_known(value) for key, value in job.kwargs.items()},
        backend=job.backend,
        errors=[
            TaskError(
                exception_class_path=attempt.exception_class_path,
                traceback=attempt.traceback,
                summary=attempt.error,
            )
            for attempt in past
        ],
        worker_ids=worker_ids,
        job_status=str(job.status),
        progress=known.get("progress"),
        metadata=known.get("metadata") or {},
        cancelled_by=known.get("cancel_requested_by") or "",
        stores_result=known.get("store_result") is not False,
        has_expired=job.status == "CANCELLED" and job.is_expired,
    )
    # Django's own way: the field takes no part in __init__, and the class is frozen.
    object.__setattr__(result, "_return_value", decode_known(job.result))
    return result


def _deduplicated(job: Job, task: Task[Any, Any]) -> TaskResult[Any, Any]:
    """The result of a call for which ``job``, which was there, stands."""
    result = build_result(job, with_row_options(task, job))
    # As below: it is no field of Django's.
    object.__setattr__(result, "was_deduplicated", True)
    return result


def announce(jobs: Sequence[Job]) -> None:
    """Send ``job_enqueued`` and Django's ``task_enqueued`` for jobs of schedules.

    Errors of receivers are logged.
    """
    for job in jobs:
        job_enqueued.send_robust(type(job), job=job)
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
