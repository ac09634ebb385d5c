"""Who is told of new jobs in tests: first those who only look, then who runs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django_bgtasks.models import Job
from django_bgtasks.signals import job_enqueued

Listener = Callable[[Job], None]

_onlookers: list[Listener] = []
_runners: list[Listener] = []


def look(listener: Listener) -> None:
    """Call ``listener`` with each new job, before anybody runs it."""
    _add(_onlookers, listener)


def run(listener: Listener) -> None:
    """Call ``listener`` with each new job, and nobody who has said so before."""
    _add(_runners, listener)


def stop(listener: Listener) -> None:
    """Undo ``look`` or ``run``."""
    for listeners in (_onlookers, _runners):
        if listener in listeners:
            listeners.remove(listener)
    if not (_onlookers or _runners):
        job_enqueued.disconnect(_tell)


def _add(listeners: list[Listener], listener: Listener) -> None:
    listeners.append(listener)
    job_enqueued.connect(_tell)


def _tell(*, job: Job, **kwargs: Any) -> None:
    for listener in (*_onlookers, *_runners[-1:]):
        listener(job)
