"""Workers that are not heard of: frozen, or only busy."""

import sqlite3
from contextlib import closing
from threading import Event

from django.db import connection

from django_bgtasks.models import Job
from tests.chaos.app import tasks
from tests.chaos.hosts import HEARTBEAT_TIMEOUT, STARTED
from tests.chaos.size import size


def test_a_frozen_host_changes_nothing_when_it_thaws(storm, tmp_path):
    zombie, other = storm.start("--processes=2"), storm.start("--processes=2")
    for host in (zombie, other):
        host.wait_for(STARTED, times=2)
    for n in range(1, size(1, 10) + 1):
        gate = tmp_path / f"gate-{n}"
        storm.hold_jobs(gate)
        freeze_between_transactions(zombie)
        gate.touch()
        storm.await_the_end_without(zombie)
        rows = all_rows()
        zombie.thaw()
        zombie.wait_for("its jobs were given to others; it ends", times=2 * n)
        zombie.wait_for(STARTED, times=2 * n + 2)
        assert all_rows() == rows
    storm.load.add(100)
    storm.settle()


def test_hosts_are_frozen_in_the_middle_of_things(storm):
    """Where they may hold locks, so that everybody else has to wait for them."""
    for _ in range(2):
        storm.start("--processes=2").wait_for(STARTED, times=2)
    for _ in range(size(1, 20)):
        storm.load.add(100)
        storm.await_progress(40)
        zombie = storm.random.choice(storm.hosts)
        zombie.freeze()
        Event().wait(1.5 * HEARTBEAT_TIMEOUT)
        zombie.thaw()
    storm.settle()


def freeze_between_transactions(host):
    """On SQLite, nobody else can write as long as it holds the lock."""
    host.freeze()
    while connection.vendor == "sqlite" and not is_writable():
        host.thaw()
        host.freeze()


def is_writable():
    name = connection.settings_dict["NAME"]
    with closing(sqlite3.connect(name, timeout=0.5)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        return True


def all_rows():
    return list(Job.objects.order_by("pk").values())


def test_long_jobs_run_once(storm):
    """Longer than anybody may be silent; one of them lets no heartbeat through."""
    kinds = [tasks.work, tasks.wait, tasks.hold_the_gil]
    jobs = [task(1.5 * HEARTBEAT_TIMEOUT) for task in kinds]
    for _ in range(2):
        storm.start("--threads=2")
    storm.load.add(size(50, 2000))
    storm.settle()
    runs = storm.audit.runs()
    assert [len(runs[job.id]) for job in jobs] == [1, 1, 1]
