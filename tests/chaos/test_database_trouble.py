"""The database goes away, throws everybody out, is locked or is full."""

import re
import sqlite3
from contextlib import closing, contextmanager, suppress
from threading import Event

import pytest
from django.db import OperationalError, connection, connections

from tests.chaos.app import tasks
from tests.chaos.hosts import HEARTBEAT_TIMEOUT, STARTED, eventually
from tests.chaos.size import size

TROUBLE = "The database is in trouble"
RECOVERED = "The database answers again"


@pytest.fixture
def troubles(request):
    """What can happen to the database at hand."""
    if connection.vendor == "sqlite":
        return [hold_the_write_lock]
    if connection.vendor == "mysql":
        return [kill_connections]
    cluster = request.getfixturevalue("cluster")
    return [
        terminate_backends,
        lambda: cluster.restart("fast"),
        lambda: cluster.restart("immediate"),
    ]


def hold_the_write_lock():
    """Until somebody as patient as Django has given up."""
    name = connection.settings_dict["NAME"]
    with closing(sqlite3.connect(name)) as holder:
        holder.isolation_level = None
        holder.execute("BEGIN IMMEDIATE")
        with (
            closing(sqlite3.connect(name, timeout=6)) as waiter,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            waiter.execute("BEGIN IMMEDIATE")


def kill_connections():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM information_schema.processlist "
            "WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        )
        for (other,) in cursor.fetchall():
            # Some have left by themselves meanwhile.
            with suppress(OperationalError):
                cursor.execute(f"KILL {other}")


def terminate_backends():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_trouble_under_load(storm, troubles):
    is_locked = troubles == [hold_the_write_lock]
    for _ in range(2):
        storm.start("--processes=2")
    storm.load.add(100)
    with storm.load.flowing():
        for _ in range(size(1, 5) if is_locked else size(6, 60)):
            storm.await_progress(40)
            storm.random.choice(troubles)()
            connection.close()
    storm.settle()


def test_an_outage_is_survived_and_told_once(storm, cluster):
    host = storm.start("--processes=2")
    host.wait_for(STARTED, times=2)
    storm.load.add(100)
    storm.await_progress(40)
    cluster.stop("immediate")
    host.wait_for(TROUBLE, times=2)
    cluster.start()
    connection.close()
    host.wait_for(RECOVERED, times=2)
    storm.settle()
    assert host.output.count(TROUBLE) == host.output.count(RECOVERED) == 2


def test_a_long_outage_makes_nobody_rescue_the_living(storm, cluster, tmp_path):
    gate = tmp_path / "gate"
    running = [tasks.wait_for_file(str(gate)) for _ in range(4)]
    hosts = [storm.start("--threads=2") for _ in range(2)]
    eventually(lambda: len(storm.audit) == len(running), "the beginning of all bodies")
    cluster.stop()
    Event().wait(2 * HEARTBEAT_TIMEOUT)
    cluster.start()
    connection.close()
    for host in hosts:
        host.wait_for(RECOVERED)
    gate.touch()
    storm.settle()
    assert len(storm.audit) == 2 * len(running)


def test_a_full_disk(storm, disk, request):
    host = storm.start("--processes=2")
    host.wait_for(STARTED, times=2)
    storm.load.add(100)
    with storm.load.flowing():
        storm.await_progress(40)
        told = host.output.count(TROUBLE)
        disk.fill()
        host.wait_for(TROUBLE, times=told + 1)
        disk.free()
        if connection.vendor == "postgresql":
            request.getfixturevalue("cluster").start_if_it_is_down()
    connection.close()
    storm.settle()
    # Below a line of ours; the backport of Tasks shows those of jobs that have failed.
    assert not re.search(r"^\d.*\nTraceback", host.output, re.MULTILINE)
    # No line for each try. A few, for what needs no room is written all the same.
    assert host.output.count(TROUBLE) == host.output.count(RECOVERED) <= told + 6


def test_an_old_snapshot_is_open_all_the_time(storm):
    with old_snapshot():
        storm.load.add(size(200, 5000))
        for _ in range(2):
            storm.start("--processes=2")
        storm.await_progress(100)
        storm.load.add(size(200, 5000))
        storm.settle()


@contextmanager
def old_snapshot():
    """Somebody looks at the tables as they were, and does not stop."""
    other = connections.create_connection("default")
    begin = {
        "mysql": "START TRANSACTION WITH CONSISTENT SNAPSHOT",
        "postgresql": "BEGIN ISOLATION LEVEL REPEATABLE READ",
        "sqlite": "BEGIN",
    }
    try:
        with other.cursor() as cursor:
            cursor.execute(begin[connection.vendor])
            cursor.execute("SELECT count(*) FROM django_bgtasks_job")
            yield
    finally:
        other.close()
