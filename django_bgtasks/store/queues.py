"""Pausing and resuming queues."""

from __future__ import annotations

from datetime import datetime

from django_bgtasks.models import Queue
from django_bgtasks.store import wakeup
from django_bgtasks.store.engines import get_engine


def pause(name: str, now: datetime | None = None) -> None:
    """Let no worker claim from the queue until it is resumed; running jobs go on."""
    engine = get_engine()
    with engine.transaction():
        Queue.objects.using(engine.alias).update_or_create(
            name=name, defaults={"paused_at": now or engine.now()}
        )


def resume(name: str) -> None:
    """Let workers claim from the queue again."""
    Queue.objects.using(get_engine().alias).filter(name=name).update(paused_at=None)
    wakeup.call(name)
