"""Background tasks for Django, with the project's own database as the queue."""

from __future__ import annotations

from django_bgtasks.bulk import enqueue_many
from django_bgtasks.context import TaskContext
from django_bgtasks.exceptions import (
    Cancel,
    CancelRequested,
    NotJSON,
    Retry,
    Snooze,
    TimeLimitExceeded,
)
from django_bgtasks.retries import RetryPolicy
from django_bgtasks.tasks import Signature, Task, background

__all__ = [
    "Cancel",
    "CancelRequested",
    "NotJSON",
    "Retry",
    "RetryPolicy",
    "Signature",
    "Snooze",
    "Task",
    "TaskContext",
    "TimeLimitExceeded",
    "background",
    "enqueue_many",
]
