"""Pausing and resuming queues."""

from __future__ import annotations

from datetime import datetime

from django_bgtasks.models import Queue
from django_bgtasks.signals import logger
from django_bgtasks.store import wakeup
from django_bgtasks.store.engines import get_engine

_WORKS = {"paused_at": None, "resume_at": None}


def pause(
    name: str, now: datetime | None = None, *, until: datetime | None = None
) -> None:
    """Let no worker claim from the queue until it is resumed; running jobs go on.

    Of a queue that is paused already, only ``until`` is changed.

    Args:
        name: of the queue.
        now: the time by the database's clock, if it is known.
        until: when workers resume it by themselves; None: somebody has to.
    """
    engine = get_engine()
    with engine.transaction():
        rows = Queue.objects.using(engine.alias).select_for_update()
        queue, _ = rows.get_or_create(name=name)
        queue.paused_at = queue.paused_at or now or engine.now()
        queue.resume_at = until
        queue.save(using=engine.alias)


def resume(name: str) -> None:
    """Let workers claim from the queue again."""
    Queue.objects.using(get_engine().alias).filter(name=name).update(**_WORKS)
    wakeup.call(name)


def resume_due(now: datetime) -> list[str]:
    """Resume the queues that were paused until now.

    Any number may do so at the same time.

    Args:
        now: the time by the database's clock.

    Returns:
        The names of those that this call has resumed.
    """
    due = Queue.objects.using(get_engine().alias).filter(resume_at__lte=now)
    resumed = []
    # Read first, for most of the time there is nothing to write.
    for name in list(due.values_list("name", flat=True)):
        # Once more with its time, for somebody may have said otherwise meanwhile.
        if due.filter(name=name).update(**_WORKS):
            logger.info("Queue %s works again: it was paused until now", name)
            wakeup.call(name)
            resumed.append(name)
    return resumed
