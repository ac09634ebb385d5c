"""Background tasks for Django, with the project's own database as the queue."""

from __future__ import annotations

from django_bgtasks.bulk import aenqueue_many, enqueue_many
from django_bgtasks.context import TaskContext
from django_bgtasks.exceptions import (
    AlreadyEnqueued,
    Cancel,
    CancelRequested,
    JobCancelled,
    JobFailed,
    NotJSON,
    ReferenceGone,
    Retry,
    Snooze,
    TimeLimitExceeded,
)
from django_bgtasks.explaining import explain
from django_bgtasks.references import Reference, ref
from django_bgtasks.retries import RetryPolicy
from django_bgtasks.tasks import Signature, Task, background

__all__ = [
    "AlreadyEnqueued",
    "Cancel",
    "CancelRequested",
    "JobCancelled",
    "JobFailed",
    "NotJSON",
    "Reference",
    "ReferenceGone",
    "Retry",
    "RetryPolicy",
    "Signature",
    "Snooze",
    "Task",
    "TaskContext",
    "TimeLimitExceeded",
    "aenqueue_many",
    "background",
    "enqueue_many",
    "explain",
    "ref",
]
