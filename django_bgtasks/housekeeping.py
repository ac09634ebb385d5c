"""Periodic jobs of our own, which a project gets without asking.

Like any declared in code: they are among the schedules in the admin, where they can be
paused, and ``BGTASKS["PERIODIC"]`` can change them by their names or, with None, take
them away.
"""

from __future__ import annotations

from datetime import timedelta

from django_bgtasks.conf import get_settings
from django_bgtasks.store import maintenance, tallies
from django_bgtasks.store.engines import get_engine
from django_bgtasks.tasks import background


@background(
    name="django_bgtasks.prune",
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
