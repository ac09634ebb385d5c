"""Runs whose body and success are one transaction: done once, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

from django.db import DatabaseError, InterfaceError

from django_bgtasks.arguments import normalize_result
from django_bgtasks.models import Job
from django_bgtasks.outcomes import Succeeded
from django_bgtasks.redaction import loggable
from django_bgtasks.signals import logger
from django_bgtasks.store import lifecycle
from django_bgtasks.store.engines import Engine, get_engine
from django_bgtasks.tasks import secrets_of
from django_bgtasks.worker.clock import Clock


class NotBegun(Exception):
    """The transaction could not begin; the body was not called."""


class JobLost(Exception):
    """Others have been given the job; what the body wrote is rolled back."""


def run_atomically(job: Job, body: Callable[[], Any], clock: Clock) -> Any:
    """Call ``body`` and record its success in one transaction of the jobs' database.

    Whatever becomes of the process, the connection or the job, either both are
    committed or neither is.

    Returns:
        What ``body`` returned, as JSON.

    Raises:
        NotBegun: the database is in trouble; ``body`` was not called.
        JobLost: the job is not this worker's any more.
        Exception: what ``body``, or the commit, raised; all is rolled back.
    """
    engine = get_engine()
    has_begun = is_written = False
    value = None
    try:
        with engine.transaction():
            has_begun = True
            value = normalize_result(body())
            _finish(job, value, clock)
            is_written = True
    except Exception as error:  # the body's, too, which go on to whoever asked
        if not has_begun:
            raise NotBegun from error
        if not (is_written and _was_committed(engine, job)):
            raise
        trouble = loggable(error, secrets_of(job))
        logger.error("Trouble after the commit of %s", job, exc_info=trouble)
    return value


def _finish(job: Job, value: Any, clock: Clock) -> None:
    if lifecycle.finish(_worker_of(job), [(job, Succeeded(value))], clock.now()):
        raise JobLost


def _worker_of(job: Job) -> UUID:
    # It has one, for it was claimed.
    return cast("UUID", job.worker)


def _was_committed(engine: Engine, job: Job) -> bool:
    """Whether a commit has come through that failed, as far as can be seen.

    It may have failed in a function that was to be called after it; or the connection
    broke before the answer came. If it cannot be seen, it is taken for a failure: that
    is guarded, and changes nothing once there is a success.
    """
    engine.connection.close()
    try:
        return not engine.not_recorded([job], _worker_of(job))
    except (DatabaseError, InterfaceError):
        return False
