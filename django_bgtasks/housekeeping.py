"""Jobs of our own, which a project gets without asking: periodic ones, and sweeps.

Like any declared in code: they are among the schedules in the admin, where they can be
paused, and ``BGTASKS["PERIODIC"]`` can change them by their names or, with None, take
them away.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django_bgtasks._framework import (
    DEFAULT_TASK_BACKEND_ALIAS,
    DEFAULT_TASK_QUEUE_NAME,
)
from django_bgtasks.backend import backend_for
from django_bgtasks.conf import get_settings
from django_bgtasks.context import TaskContext
from django_bgtasks.store import maintenance, sweeps, tallies
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.selection import Selection
from django_bgtasks.store.walking import Cursor
from django_bgtasks.tasks import background

#: Jobs that a sweep counts before it begins, to tell how far it is.
SWEEP_COUNT_LIMIT = 1_000_000


def _queue() -> str:
    """The queue that projects use without asking, or else the first one they allow."""
    allowed = backend_for(DEFAULT_TASK_BACKEND_ALIAS).queues
    if not allowed or DEFAULT_TASK_QUEUE_NAME in allowed:
        return DEFAULT_TASK_QUEUE_NAME
    return min(allowed)


@background(
    name="django_bgtasks.prune",
    queue_name=_queue(),
    every=timedelta(minutes=10),
    overlap="skip",
    max_attempts=1,
)
def prune() -> int:
    """Delete finished jobs that are older than ``BGTASKS["RETENTION"]`` says.

    Returns:
        How many there were.
    """
    total = 0
    retention = get_settings().retention
    while pruned := maintenance.prune(get_engine().now(), retention):
        total += pruned
    return total


@background(
    name="django_bgtasks.roll_up",
    queue_name=_queue(),
    every=timedelta(hours=1),
    overlap="skip",
    max_attempts=1,
)
def roll_up() -> int:
    """Make few rows of the many numbers that workers have written for statistics.

    Returns:
        How many rows were replaced or deleted.
    """
    total = 0
    now = get_engine().now()
    while rolled_up := tallies.roll_up(now):
        total += rolled_up
    return total


@background(
    name="django_bgtasks.sweep",
    queue_name=_queue(),
    takes_context=True,
    max_attempts=3,
)
def sweep(
    context: TaskContext,
    deed: str,
    selection: dict[str, str],
    options: dict[str, Any],
    *,
    by: str,
    asked_at: str,
    upto: str,
    sees_arguments: bool,
) -> dict[str, int]:
    """Do something to many jobs that somebody has chosen, the newest first.

    It goes on where an attempt before it was interrupted. What was done until then
    stays done, if it is cancelled.

    Args:
        deed: the name of what to do.
        selection: the parameters of a ``Selection``.
        options: what the deed asks for.
        by: who wants it.
        asked_at: when it was asked for.
        upto: the id of the last job that there was then.
        sees_arguments: whether who asks may search arguments.

    Returns:
        What became of how many jobs.
    """
    work = sweeps.Sweep(
        deed,
        Selection.from_params(
            selection, sees_arguments=sees_arguments, upto=UUID(upto)
        ),
        options,
        by,
        datetime.fromisoformat(asked_at),
        spared=UUID(context.job_id),
        guarded=GUARDED,
    )
    so_far = context.metadata
    if so_far.get("next") == "":
        return dict(so_far["done"])
    if "jobs" not in so_far:
        context.update_metadata(jobs=work.count(SWEEP_COUNT_LIMIT))
    return dict(_go_on(context, work))


#: Only who may do what they do may enqueue these, so no form of the admin offers them.
GUARDED = frozenset({sweep.path})


def _go_on(context: TaskContext, work: sweeps.Sweep) -> Counter[str]:
    """Do what is left of it, and note after each batch how far it is."""
    so_far = context.metadata
    total = so_far["jobs"] if so_far["jobs"] <= SWEEP_COUNT_LIMIT else None
    seen, done = so_far.get("seen", 0), Counter[str](so_far.get("done", {}))
    before = Cursor.from_text(so_far["next"]) if "next" in so_far else None
    context.progress(seen, total)
    for number, counts, rest in work.go(before):
        seen, done = seen + number, done + counts
        context.update_metadata(seen=seen, done=dict(done), next=str(rest or ""))
        # Jobs come and go meanwhile.
        context.progress(seen, None if total is None else max(total, seen))
        if context.cancelled:
            return done
    context.progress(seen, seen)
    return done
