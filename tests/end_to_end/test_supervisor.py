"""``run_tasks --processes``: several workers under one command."""

import multiprocessing
import os
import signal
import time
import uuid

import pytest
from django.db import connection

from django_bgtasks.models import Job, Worker
from django_bgtasks.models.worker import Instruction
from django_bgtasks.store import workers
from django_bgtasks.version import VERSION
from django_bgtasks.worker.options import WorkerOptions
from django_bgtasks.worker.supervisor import Supervisor
from tests.end_to_end.conftest import ROOT
from tests.end_to_end.test_processes import eventually
from tests.factories import make_jobs
from tests.sample import tasks as sample

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

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


@pytest.mark.once
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
    supervisor.wait_for(f":{victim} was killed by SIGKILL; another one starts in")
    eventually(lambda: len(pids() - {victim}) == 2)
    log = tmp_path / "log"
    sample.leave_a_line(str(log), "ran")
    eventually(log.exists)
    supervisor.signal(signal.SIGTERM)
    assert supervisor.end() == 0


def test_a_worker_that_was_drained_is_not_replaced(start, tmp_path):
    gate, log = tmp_path / "gate", tmp_path / "log"
    supervisor = start(*TWO, settings={"SHUTDOWN_GRACE": 0.1})
    eventually(lambda: len(pids()) == 2)
    running = sample.wait_for_file(str(gate), str(log))
    eventually(log.exists)
    busy = Job.objects.get().worker
    other = Worker.objects.exclude(pk=busy).get()
    workers.instruct([busy], Instruction.DRAIN)
    # What comes now is for the other one.
    eventually(lambda: sample.leave_a_line(str(log), "x").get(timeout=20) is None)
    gate.touch()
    supervisor.wait_for("as it was told; no other one starts")
    running.refresh()
    assert running.status == "SUCCESSFUL"
    assert [worker.pk for worker in Worker.objects.all()] == [other.pk]
    # Without any, there is nothing left to watch over.
    workers.instruct([other.pk], Instruction.STOP)
    assert supervisor.end() == 0
    assert "another one starts" not in supervisor.output
    assert not Worker.objects.exists()


def replaced(supervisor, instruction):
    """Tell the only worker something, kill it, and wait for what comes then."""
    eventually(lambda: len(pids()) == 1)
    (victim,) = pids()
    workers.instruct(Worker.objects.values_list("pk", flat=True), instruction)
    os.kill(victim, signal.SIGKILL)
    supervisor.wait_for(f":{victim} was killed by SIGKILL")
    return lambda: bool(pids() - {victim})


@pytest.mark.once
def test_a_quiet_worker_that_dies_is_replaced_by_a_quiet_one(start):
    supervisor = start("run_tasks", "--processes=1", "--no-reload")
    for _ in range(2):
        eventually(replaced(supervisor, Instruction.QUIET))
        eventually(lambda: len(pids()) == 1)
        assert Worker.objects.get().instruction == Instruction.QUIET
    eventually(replaced(supervisor, ""))
    eventually(lambda: len(pids()) == 1)
    assert Worker.objects.get().instruction == ""


def test_so_is_a_quiet_one_that_was_taken_for_dead(start):
    supervisor = start(
        "run_tasks",
        "--processes=1",
        "--no-reload",
        settings={"HEARTBEAT_TIMEOUT": 2},
    )
    eventually(lambda: len(pids()) == 1)
    (first,) = pids()
    workers.instruct(Worker.objects.values_list("pk", flat=True), Instruction.QUIET)
    supervisor.wait_for("was told: quiet")
    # As another host does it.
    Worker.objects.all().delete()
    supervisor.wait_for("its jobs were given to others")
    eventually(lambda: bool(pids() - {first}))
    assert Worker.objects.get().instruction == Instruction.QUIET


@pytest.mark.once
def test_a_worker_that_dies_while_it_drains_is_not_replaced(start):
    supervisor = start("run_tasks", "--processes=1", "--no-reload")
    replaced(supervisor, Instruction.DRAIN)
    assert supervisor.end() == 0
    assert "as it was told; no other one starts" in supervisor.output
    assert not Worker.objects.exists()


@pytest.mark.once
def test_each_worker_says_how_much_memory_it_takes(start):
    start(*TWO)
    eventually(lambda: Worker.objects.filter(memory__gt=1_000_000).count() == 2)
    assert set(Worker.objects.values_list("version", flat=True)) == {VERSION}


def test_without_their_parent_they_stop(start):
    supervisor = start(*TWO)
    eventually(lambda: len(pids()) == 2)
    children = pids()
    supervisor.signal(signal.SIGKILL)
    supervisor.end()
    eventually(lambda: not any(is_alive(pid) for pid in children))
    assert not Worker.objects.exists()


@pytest.mark.parametrize(
    "limit",
    ["--max-jobs=7", pytest.param("--max-memory=1", marks=pytest.mark.once)],
)
def test_a_worker_makes_room_for_another(start, tmp_path, limit):
    log = tmp_path / "log"
    make_jobs(20, lambda n: [str(log), str(n)], task=sample.leave_a_line.path)
    supervisor = start("run_tasks", limit)
    supervisor.wait_for("started", times=3)
    if limit == "--max-jobs=7":
        eventually(lambda: Job.objects.finished().count() == 20)
        assert sorted(map(int, log.read_text().split())) == list(range(20))
        assert Job.objects.successful().filter(attempt=1).count() == 20
    supervisor.signal(signal.SIGTERM)
    assert supervisor.end() == 0


BROKEN_IN_CHILDREN = """
import multiprocessing
from django.apps import AppConfig
from django.db.backends.signals import connection_created

def refuse(**kwargs):
    if multiprocessing.parent_process():
        raise RuntimeError("not in a child")

class BrokenInChildren(AppConfig):
    name = "app"

    def ready(self):
        connection_created.connect(refuse, weak=False)
"""


@pytest.mark.once
def test_a_drain_whose_workers_cannot_work_fails(start, tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "apps.py").write_text(BROKEN_IN_CHILDREN)
    supervisor = start(
        *TWO, "--drain", BGTASKS_TEST_APP="app", PYTHONPATH=f"{ROOT}:{tmp_path}"
    )
    assert supervisor.end() == 1
    assert "not in a child" in supervisor.output


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
        # One for each loop; the parent's is open only while it is needed.
        assert cursor.fetchone() == (2,)
    supervisor.signal(signal.SIGTERM)
    assert supervisor.end() == 0


@pytest.mark.once
def test_a_worker_that_cannot_be_started_is_tried_again(monkeypatch, caplog):
    """As when the machine has no process or memory to spare."""
    supervisor = Supervisor(WorkerOptions(threads=1), 1)
    refused = []

    def refuse(seat):
        refused.append(seat)
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(supervisor, "_start", refuse)
    supervisor._start_missing()
    supervisor._start_missing()
    supervisor._bell.close()
    assert len(refused) == 1, "not at once"
    assert "No worker can be started: Resource temporarily" in caplog.text


@pytest.mark.once
def test_a_worker_that_hangs_is_killed(caplog):
    supervisor = Supervisor(WorkerOptions(threads=1), 1)
    (seat,) = supervisor._seats
    spawn = multiprocessing.get_context("spawn")
    seat.process = spawn.Process(target=signal.pause)
    seat.process.start()
    try:
        seat.board.beat(time.monotonic() - 301)
        seat.board.begin(0, uuid.uuid4())
        supervisor._kill_hung()
        assert not caplog.records, "a job may hold the GIL as long as it likes"
        seat.board.clear(0)
        supervisor._kill_hung()
        seat.process.join(10)
        assert seat.process.exitcode == -signal.SIGKILL
        assert "has not moved for 301 s" in caplog.text
    finally:
        seat.process.kill()
        seat.process.join()
        seat.process.close()
        supervisor._bell.close()
