"""System checks: what would go wrong later, said at start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core import checks
from django.core.checks import CheckMessage, Tags, register
from django.db import connections, router

from django_bgtasks.conf import get_settings
from django_bgtasks.exceptions import InvalidSchedule
from django_bgtasks.models import Job
from django_bgtasks.periodic import Declared, declared, names_alike
from django_bgtasks.tasks import registered_tasks


@register(Tags.compatibility)
def check_reserved_parameters(**kwargs: Any) -> list[CheckMessage]:
    """Parameters that a call of the task would take for its own keywords."""
    return [
        checks.Warning(
            f"The task {task.path} has a parameter named {name!r}, which a call "
            f"such as {task.name}({name}=...) takes as an option of the job.",
            hint=f"Rename the parameter, or enqueue with {task.name}.enqueue(...).",
            obj=task.path,
            id="django_bgtasks.W001",
        )
        for task in registered_tasks()
        for name in task.reserved_parameters
    ]


@register(Tags.compatibility)
def check_periodic_jobs(**kwargs: Any) -> list[CheckMessage]:
    """Schedules in settings and code that would never enqueue anything."""
    wrong = [(one, str(error)) for one in declared() for error in _problems(one)]
    wrong += [
        (one, f"name is the same as {other!r} but for its case; choose another.")
        for one, other in names_alike()
    ]
    return [
        checks.Error(f"{one.place}: {said}", obj=one.name, id="django_bgtasks.E001")
        for one, said in wrong
    ]


def _problems(one: Declared) -> Iterator[InvalidSchedule]:
    try:
        one.parse().bound_task()
    except InvalidSchedule as error:
        yield error


@register(Tags.compatibility)
def check_database(**kwargs: Any) -> list[CheckMessage]:
    """A database for the jobs that no router sends them to."""
    wanted, routed = get_settings().database, router.db_for_write(Job)
    if wanted in (None, routed):
        return []
    return [
        checks.Error(
            f"BGTASKS['DATABASE'] is {wanted!r}, but the jobs are sent to {routed!r}.",
            hint="Put 'django_bgtasks.routers.JobsRouter' first in DATABASE_ROUTERS.",
            id="django_bgtasks.E002",
        )
    ]


# Not tagged as a database check: those run only when --database is given.
@register(Tags.compatibility, deploy=True)
def check_transaction_mode(**kwargs: Any) -> list[CheckMessage]:
    """Deferred transactions, which fail at once when two processes write."""
    connection: Any = connections[router.db_for_write(Job)]
    mode = connection.settings_dict["OPTIONS"].get("transaction_mode") or "DEFERRED"
    if not hasattr(connection, "transaction_modes") or mode.upper() != "DEFERRED":
        return []
    return [
        checks.Warning(
            f"The SQLite database {connection.alias!r} holds background jobs and "
            "begins its transactions deferred: one that reads and then writes fails "
            "with 'database is locked' when a worker wrote in between.",
            hint='Set "OPTIONS": {"transaction_mode": "IMMEDIATE"} for it.',
            id="django_bgtasks.W002",
        )
    ]
