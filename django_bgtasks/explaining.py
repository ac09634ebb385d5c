"""Why is it not running? The question, asked from anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django_bgtasks._framework import TaskResult, TaskResultDoesNotExist

if TYPE_CHECKING:
    from django_bgtasks.models import Job
    from django_bgtasks.store.explain import Explanation


def explain(job: Job | TaskResult[Any, Any] | UUID | str) -> Explanation:
    """Why a job is not running, or what it is at, or how it ended.

    ::

        explain(result).text  # "Queue mail has been paused since 2026-03-01 09:30:00."

    Looks at the job's row as it is now, and at its queue, at workers, and at the jobs
    before it: a few short queries.

    Args:
        job: the job, its result, or its id.

    Returns:
        An ``Explanation``: ``code``, ``text``, ``facts``, and what holds beside it in
        ``also``. Sensitive arguments are in none of them.

    Raises:
        TaskResultDoesNotExist: there is no such job.
    """
    from django_bgtasks.models import Job  # noqa: PLC0415 (models may not be there yet)
    from django_bgtasks.store import explain as store  # noqa: PLC0415 (as above)
    from django_bgtasks.store.engines import get_engine  # noqa: PLC0415 (as above)

    key = job.id if isinstance(job, Job | TaskResult) else job
    try:
        row = Job.objects.using(get_engine().alias).filter(pk=UUID(str(key))).first()
    except ValueError:
        row = None
    if row is None:
        raise TaskResultDoesNotExist(f"There is no job {key}.")
    return store.explain(row)
