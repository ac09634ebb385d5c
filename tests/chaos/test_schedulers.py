"""Schedulers die at any point, and each tick still has one job."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from datetime import timedelta
from threading import Event

import pytest
from django.db import connection

from django_bgtasks.models import Job, Schedule
from django_bgtasks.store import schedules
from django_bgtasks.store.engines import get_engine
from django_bgtasks.timing import as_aware, as_stored
from tests.chaos.app import tasks
from tests.chaos.size import size
from tests.chaos.storm import figures
from tests.end_to_end.conftest import ROOT

#: Ten minutes, by the clock of the schedulers.
LENGTH = timedelta(minutes=10)
#: Seconds of theirs in one of ours.
SPEED = size(30, 5)

COMMAND = [sys.executable, "-m", "django", "run_fast_scheduler"]

RULES = {
    "each second": {"every": timedelta(seconds=1)},
    "each second, too": {"cron": "* * * * * *"},
    "each seventh": {"cron": "* * * * * */7"},
    "with a phase": {"every": timedelta(seconds=10), "phase": timedelta(seconds=3)},
    "each minute": {"cron": "* * * * *"},
    "at an uneven pace": {"every": timedelta(seconds=1.7)},
}


@pytest.fixture
def start_scheduler(transactional_db):
    """Start schedulers that are ahead of their time; what is left of them is killed."""
    processes = []
    began, since = get_engine().now(), time.time()

    def start():
        process = subprocess.Popen(
            [*COMMAND, began.isoformat(), str(since), str(SPEED)],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.settings",
                "PYTHONPATH": str(ROOT),
                "BGTASKS_DB_NAME": str(connection.settings_dict["NAME"]),
            },
        )
        processes.append(process)
        return process

    start.began = began
    yield start
    for process in processes:
        process.kill()
        process.wait()


class Ledger:
    """Counts the jobs of each tick, also those that it deletes."""

    def __init__(self):
        self.counts = defaultdict(Counter)

    def prune(self, number=-1):
        """Note the oldest jobs, and delete them as if their time had come."""
        rows = Job.objects.order_by("pk")[: None if number < 0 else number]
        noted = list(rows.values_list("pk", "schedule", "scheduled_for"))
        for _, name, tick in noted:
            self.counts[name][tick] += 1
        for begin in range(0, len(noted), 500):
            keys = [pk for pk, _, _ in noted[begin : begin + 500]]
            Job.objects.filter(pk__in=keys).delete()


def test_schedulers_are_killed_at_random(start_scheduler, chance):
    begin = start_scheduler.began
    end = begin + LENGTH
    for name, rule in RULES.items():
        made = Schedule(name=name, task=tasks.tiny.path, missed="all", end=end, **rule)
        schedules.save(made, begin)
        lazy = Schedule(name=f"{name}, lazily", task=tasks.tiny.path, end=end, **rule)
        schedules.save(lazy, begin)
    alive = [start_scheduler() for _ in range(3)]
    ledger, kills = Ledger(), 0
    while schedules.next_due() is not None:
        # To strike at any moment, whatever happens in it.
        Event().wait(chance.uniform(0, 1))
        victim = alive.pop(chance.randrange(3))
        assert victim.poll() is None, "it lives until it is killed"
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        kills += 1
        alive.append(start_scheduler())
        ledger.prune(chance.randrange(200))
    ledger.prune()
    figures.update({"schedulers killed": kills})
    for name in RULES:
        rule = Schedule.objects.get(pk=name).rule
        ticks = rule.ticks(as_aware(begin), as_aware(end), limit=1000)
        expected = Counter(map(as_stored, ticks))
        assert ledger.counts[name] == expected, name
        lazily = ledger.counts[f"{name}, lazily"]
        assert set(lazily) <= set(expected), name
        assert set(lazily.values()) == {1}, name
        figures.update({"ticks, each with one job": len(expected)})
