"""The Tasks framework: Django's own from 6.0 on, the ``django-tasks`` backport before.

The only module that knows there are two; everything else imports from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import django
from django.dispatch import Signal

if TYPE_CHECKING or django.VERSION >= (6, 0):
    from django.tasks import DEFAULT_TASK_BACKEND_ALIAS, signals, task_backends
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import (
        DEFAULT_TASK_PRIORITY,
        DEFAULT_TASK_QUEUE_NAME,
        TASK_REFRESH_ATTRS,
        Task,
        TaskContext,
        TaskError,
        TaskResult,
        TaskResultStatus,
    )
    from django.tasks.exceptions import (
        InvalidTask,
        TaskResultDoesNotExist,
        TaskResultMismatch,
    )
else:
    try:
        from django_tasks import DEFAULT_TASK_BACKEND_ALIAS, task_backends
    except ImportError as error:
        if error.name != "django_tasks":
            raise
        message = (
            f"django-bgtasks on Django {django.get_version()} needs the Tasks "
            "framework of the package django-tasks. Install it with: "
            "pip install 'django-bgtasks[backport]'"
        )
        raise ImportError(message, name="django_tasks") from error
    from django_tasks import signals
    from django_tasks.backends.base import BaseTaskBackend
    from django_tasks.base import (
        DEFAULT_TASK_PRIORITY,
        DEFAULT_TASK_QUEUE_NAME,
        TASK_REFRESH_ATTRS,
        Task,
        TaskContext,
        TaskError,
        TaskResult,
        TaskResultStatus,
    )
    from django_tasks.exceptions import TaskResultDoesNotExist, TaskResultMismatch

    try:
        from django_tasks.exceptions import InvalidTask
    except ImportError:  # up to 0.12; later versions say what Django says
        from django_tasks.exceptions import InvalidTaskError as InvalidTask

task_enqueued: Signal = signals.task_enqueued
task_started: Signal = signals.task_started
task_finished: Signal = signals.task_finished

_LOG_RECEIVERS = {
    id(signals.log_task_enqueued),
    id(signals.log_task_started),
    id(signals.log_task_finished),
}


def is_heard(signal: Signal, level: int) -> bool:
    """Whether sending one of the three signals would make any difference.

    The framework's own receivers only log. Where nobody else listens and the line
    would go nowhere, the signal and the TaskResult that it takes can be spared; for
    short jobs, they are the greater part of the work.

    Args:
        level: of the line that would be logged.
    """
    for key, *_ in signal.receivers:
        if key[0] not in _LOG_RECEIVERS:
            return True
    return signals.logger.isEnabledFor(level)


__all__ = [
    "DEFAULT_TASK_BACKEND_ALIAS",
    "DEFAULT_TASK_PRIORITY",
    "DEFAULT_TASK_QUEUE_NAME",
    "TASK_REFRESH_ATTRS",
    "BaseTaskBackend",
    "InvalidTask",
    "Task",
    "TaskContext",
    "TaskError",
    "TaskResult",
    "TaskResultDoesNotExist",
    "TaskResultMismatch",
    "TaskResultStatus",
    "is_heard",
    "task_backends",
    "task_enqueued",
    "task_finished",
    "task_started",
]
