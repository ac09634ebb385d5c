"""Tasks that change what all tasks of the process share: the worker goes on."""

import signal

import pytest
from django.contrib.auth.models import User
from django.db import connection

from django_bgtasks.models import Job
from tests.end_to_end.conftest import ROOT
from tests.end_to_end.test_processes import eventually
from tests.sample import vandals

# What they do is to the process: one database is enough.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.once,
    pytest.mark.slow,
]

SETTINGS = {"IMPORTS": [vandals.__name__]}
ACTS = [
    "close_stdout",
    "close_stderr",
    "close_descriptors",
    "detach_stderr",
    "set_handlers",
    "ignore_sigterm_in_c",
    "change_directory",
    "change_time_zone",
    "change_locale",
    "filter_warnings",
    "lift_the_recursion_limit",
    "leave_a_thread",
    "print_much",
    "exhaust_the_stack",
]


@pytest.fixture
def worker(start):
    name = connection.settings_dict["NAME"]
    worker = start(
        "run_tasks",
        "--threads=2",
        "--no-reload",
        settings=SETTINGS,
        # Absolute, as it should be where a task may change the directory.
        BGTASKS_DB_NAME=str(ROOT / name) if connection.vendor == "sqlite" else name,
    )
    worker.wait_for("started")
    return worker


def run_some(log, count=20):
    """Jobs that use the database and files, as most do."""
    before = User.objects.count()
    for n in range(before, before + count):
        vandals.leave_a_line_and_a_row(str(log), f"line {n}")
    eventually(lambda: not Job.objects.unfinished().exists())
    assert User.objects.count() == before + count
    assert len(log.read_text().splitlines()) == before + count


@pytest.mark.parametrize("act", ACTS)
def test_the_same_process_goes_on_and_stops_as_it_should(worker, tmp_path, act):
    log = tmp_path / "log"
    vandals.vandalise(act)
    run_some(log)
    assert set(Job.objects.values_list("status", flat=True)) == {"SUCCESSFUL"}
    assert Job.objects.values("last_worker").distinct().count() == 1
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    assert "Traceback" not in worker.output
    assert "was killed" not in worker.output
    assert "another one starts" not in worker.output


def test_what_is_printed_after_a_stream_was_closed_is_seen(worker, tmp_path):
    vandals.vandalise("close_stdout")
    vandals.vandalise("close_stderr")
    eventually(lambda: Job.objects.successful().count() == 2)
    vandals.vandalise("print_much")
    worker.wait_for("x" * 1000)
    run_some(tmp_path / "log")
    worker.wait_for("leave_a_line_and_a_row", times=20)


def test_in_another_directory_a_relative_database_is_not_found(start, only):
    """By tasks, that is: what is open stays so, and the worker goes on."""
    only("sqlite")
    worker = start("run_tasks", "--threads=1", "--no-reload", settings=SETTINGS)
    vandals.vandalise.using(priority=1).enqueue("change_directory")
    vandals.mistreat_connection("close", "nobody")
    eventually(lambda: Job.objects.failed().exists())
    vandals.vandalise("print_much")
    eventually(lambda: Job.objects.successful().count() == 2)
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    assert "another one starts" not in worker.output


def test_a_process_that_cannot_go_on_is_replaced(worker, tmp_path):
    vandals.vandalise("lower_the_recursion_limit")
    run_some(tmp_path / "log")
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0


@pytest.mark.once
def test_threads_that_are_left_do_not_keep_the_process(worker):
    vandals.vandalise("leave_a_thread")
    eventually(lambda: Job.objects.successful().exists())
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    assert "ends though there are threads: MainThread" in worker.output
    assert "left behind" in worker.output
