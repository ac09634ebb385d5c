from datetime import UTC, datetime
from io import StringIO

import pytest
import time_machine
from django.core.management import call_command

from django_bgtasks.models import Schedule
from django_bgtasks.store.engines.base import Engine
from django_bgtasks.timing import as_aware, as_stored

#: A Saturday.
NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _now(monkeypatch):
    """The time it is, by all clocks."""
    for engine in (Engine, *Engine.__subclasses__()):
        monkeypatch.setattr(engine, "now", lambda self: as_stored(NOW))
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def run():
    """Run a command, and give what it reports of each schedule, and its last lines."""

    def call(*arguments):
        out = StringIO()
        call_command(*arguments, stdout=out, no_color=True)
        return out.getvalue()

    return call


@pytest.fixture
def row():
    """The one schedule there is, or the one of a name."""
    return lambda name=None: Schedule.objects.get(**({"pk": name} if name else {}))


@pytest.fixture
def due():
    """When a schedule is due next, in UTC."""

    def of(schedule):
        if schedule.next_due is None:
            return None
        return as_aware(schedule.next_due).astimezone(UTC).replace(tzinfo=None)

    return of
