"""``run_tasks --processes``: several workers under one command."""

import os
import signal
from collections import Counter

import pytest
from django.db import connection

from django_bgtasks.models import Job, Worker
from tests.end_to_end.test_processes import eventually
from tests.factories import make_jobs
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db(transaction=True)

TWO = ("run_tasks", "--processes=2", "--no-reload")


def pids():
    return set(Worker.objects.values_list("pid", flat=True))


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_both_take_part_and_each_job_runs_once(start, tmp_path):
    total, log = 3000, tmp_path / "log"
    make_jobs(total, lambda n: [str(log), str(n)], task=sample.leave_a_line.path)
    supervisor = start(*TWO, "--drain", "--verbosity=0")
    assert supervisor.end() == 0
    assert sorted(map(int, log.read_text().split())) == list(range(total))
    rows = Job.objects.values_list("status", "attempt", "run_token")
    assert set(rows) == {("SUCCESSFUL", 1, 1)}
    assert not Worker.objects.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_them_all(start, tmp_path, number):
    gate, log = tmp_path / "gate", tmp_path / "log"
    running = sample.wait_for_file(str(gate), str(log))
    supervisor = start(*TWO)
    eventually(lambda: log.exists() and len(pids()) == 2)
    children = pids()
    supervisor.signal(number)
    gate.touch()
    assert supervisor.end() == 0
    running.refresh()
    assert running.status == "SUCCESSFUL"
    assert not any(is_alive(pid) for pid in children)


def test_a_signal_right_at_the_start_is_not_lost(start):
    for _ in range(3):
        supervisor = start("run_tasks", "--processes=8", "--no-reload")
        supervisor.wait_for("started")
        supervisor.signal(signal.SIGTERM)
        assert supervisor.end() == 0


def test_a_second_signal_ends_them_at_once(start, tmp_path):
    log = tmp_path / "log"
    sample.wait_for_file(str(tmp_path / "never"), str(log))
    supervisor = start(*TWO)
    eventually(lambda: log.exists() and len(pids()) == 2)
    children = pids()
    supervisor.signal(signal.SIGTERM)
    supervisor.signal(signal.SIGINT)
    assert supervisor.end() in (128 + signal.SIGTERM, 128 + signal.SIGINT)
    eventually(lambda: not any(is_alive(pid) for pid in children))


def test_a_worker_that_dies_is_replaced(start, tmp_path):
    supervisor = start(*TWO)
    eventually(lambda: len(pids()) == 2)
    victim = min(pids())
    os.kill(victim, signal.SIGKILL)
    supervisor.wait_for("A worker process ended with exit code -9")
    eventually(lambda: len(pids()) == 3)  # the dead one's row is still there
    log = tmp_path / "log"
    sample.leave_a_line(str(log), "ran")
    eventually(log.exists)
    supervisor.signal(signal.SIGTERM)
    assert supervisor.end() == 0


def test_without_their_parent_they_stop(start):
    supervisor = start(*TWO)
    eventually(lambda: len(pids()) == 2)
    children = pids()
    supervisor.signal(signal.SIGKILL)
    supervisor.end()
    eventually(lambda: not any(is_alive(pid) for pid in children))
    assert not Worker.objects.exists()


def test_max_jobs_is_shared_out(start, tmp_path):
    log = tmp_path / "log"
    make_jobs(20, lambda n: [str(log), str(n)], task=sample.leave_a_line.path)
    assert start(*TWO, "--max-jobs=7").end() == 0
    statuses = Counter(Job.objects.values_list("status", flat=True))
    assert statuses == {"SUCCESSFUL": 7, "READY": 13}


@pytest.mark.once
def test_a_drain_that_cannot_work_fails(start):
    options = {"BGTASKS_DB_NAME": os.devnull + "/nothing"}
    assert start(*TWO, "--drain", **options).end() == 1


@pytest.mark.once
def test_children_that_are_not_forked(start, tmp_path):
    # As on macOS and Windows; and with a reloader, whose thread must not be forked.
    log = tmp_path / "log"
    sample.leave_a_line(str(log), "ran")
    supervisor = start("run_tasks", "--processes=2", "--reload")
    eventually(lambda: log.exists() and len(pids()) == 2)
    supervisor.signal(signal.SIGTERM)
    assert supervisor.end() == 0


def test_the_database_is_not_shared(start, tmp_path, only):
    only("postgresql")
    supervisor = start(*TWO)
    eventually(lambda: len(pids()) == 2)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid()"
        )
        # One for each loop, none for the parent.
        assert cursor.fetchone() == (2,)
    supervisor.signal(signal.SIGTERM)
    assert supervisor.end() == 0
