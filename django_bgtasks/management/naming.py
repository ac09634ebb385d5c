"""Tasks and jobs that somebody names on the command line."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError

from django_bgtasks.models import Job
from django_bgtasks.store.engines import get_engine
from django_bgtasks.tasks import Task, find_task, registered_tasks

#: How many names an error suggests.
SUGGESTIONS = 3


def task_named(path: str) -> Task[Any, Any]:
    """The task that rows call ``path``.

    Raises:
        CommandError: there is none; the message names those that are like it.
    """
    task = find_task(path)
    if task is None:
        raise CommandError(
            f"No task is registered as {path!r}.{_suggestion(path)} A task is known "
            "when its module is the tasks.py of an installed app or is listed in "
            "BGTASKS['IMPORTS']."
        )
    return task


def job_with(job_id: UUID) -> Job:
    """The job with this id.

    Raises:
        CommandError: there is none.
    """
    job = Job.objects.using(get_engine().alias).filter(pk=job_id).first()
    if job is None:
        raise CommandError(f"There is no job {job_id}.")
    return job


def _suggestion(path: str) -> str:
    names = sorted(task.path for task in registered_tasks())
    # Many will give the name of the function alone, or of its app.
    same = [name for name in names if _last_part(name) == _last_part(path)]
    close = [*same, *get_close_matches(path, names, SUGGESTIONS, cutoff=0.7)]
    if not close:
        return ""
    meant = list(dict.fromkeys(close))[:SUGGESTIONS]
    return f" Did you mean {' or '.join(meant)}?"


def _last_part(path: str) -> str:
    return path.rpartition(".")[2]
