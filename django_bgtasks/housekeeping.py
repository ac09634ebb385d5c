"""Periodic jobs of our own, which a project gets without asking.

Like any declared in code: they are among the schedules in the admin, where they can be
paused, and ``BGTASKS["PERIODIC"]`` can change them by their names or, with None, take
them away.
"""

from __future__ import annotations

from datetime import timedelta

from django_bgtasks._framework import (
    DEFAULT_TASK_BACKEND_ALIAS,
    DEFAULT_TASK_QUEUE_NAME,
)
from django_bgtasks.backend import backend_for
from django_bgtasks.conf import get_settings
from django_bgtasks.store import maintenance, tallies
from django_bgtasks.store.engines import get_engine
from django_bgtasks.tasks import background


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
