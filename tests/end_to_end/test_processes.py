"""``run_tasks`` as users run it: real processes, real signals."""

import os
import signal
import time
from collections import Counter
from itertools import count
from threading import Event

import pytest
from django.db import transaction

from django_bgtasks.models import Job, Worker
from django_bgtasks.store import lifecycle
from tests.end_to_end.conftest import ROOT
from tests.factories import make_job, make_jobs
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db(transaction=True)


def eventually(condition):
    """Look again and again, for what another process writes sends no event."""
    pause, deadline = Event(), time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, list(Job.objects.values("task", "status"))
        pause.wait(0.02)


def test_drain_ends_with_zero(start, tmp_path):
    log = tmp_path / "log"
    result = sample.leave_a_line(str(log), "ran")
    worker = start("run_tasks", "--drain")
    assert worker.end() == 0
    assert log.read_text() == "ran\n"
    result.refresh()
    assert result.status == "SUCCESSFUL"
    worker.wait_for("Worker")
    assert f"{sample.leave_a_line.path} {result.id}" in worker.output
    assert not Worker.objects.exists()


def test_a_worker_that_runs_picks_up_what_is_committed(start, tmp_path):
    log = tmp_path / "log"
    worker = start("run_tasks", "--no-reload")
    worker.wait_for("started")
    with pytest.raises(RuntimeError), transaction.atomic():  # noqa: PT012 (rolled back on the way)
        sample.leave_a_line(str(log), "rolled back")
        raise RuntimeError
    with transaction.atomic():
        sample.leave_a_line(str(log), "committed")
    worker.wait_for("succeeded")
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    assert log.read_text() == "committed\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_runs_end(start, tmp_path, number):
    gate, log = tmp_path / "gate", tmp_path / "log"
    running = sample.wait_for_file(str(gate), str(log))
    worker = start("run_tasks", "--threads=1", "--no-reload")
    eventually(log.exists)
    waiting = sample.leave_a_line(str(log), "never")
    worker.signal(number)
    worker.wait_for("waits for what it runs: 1 job")
    gate.touch()
    assert worker.end() == 0
    running.refresh()
    waiting.refresh()
    assert (running.status, waiting.status) == ("SUCCESSFUL", "READY")
    assert "stopped" in worker.lines[-1]


def test_a_second_signal_ends_at_once(start, tmp_path):
    log = tmp_path / "log"
    sample.wait_for_file(str(tmp_path / "never"), str(log))
    worker = start("run_tasks", "--no-reload")
    eventually(log.exists)
    worker.signal(signal.SIGTERM)
    worker.signal(signal.SIGINT)
    assert worker.end() in (128 + signal.SIGTERM, 128 + signal.SIGINT)


def test_what_outlasts_the_grace_is_handed_back(start, tmp_path):
    log = tmp_path / "log"
    sample.wait_for_file(str(tmp_path / "never"), str(log))
    worker = start("run_tasks", "--no-reload", settings={"SHUTDOWN_GRACE": 0.1})
    eventually(log.exists)
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    job = Job.objects.get()
    assert (job.status, job.attempt, job.worker) == ("READY", 0, None)


def test_what_ignores_even_that_does_not_keep_the_process(start):
    sample.await_a_thread()
    worker = start("run_tasks", "--no-reload", settings={"SHUTDOWN_GRACE": 0.1})
    eventually(Job.objects.running().exists)
    worker.wait_for("in its thread")
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    job = Job.objects.get()
    assert (job.status, job.attempt, job.worker) == ("READY", 0, None)


def test_a_killed_worker_corrupts_nothing(start, tmp_path):
    log = tmp_path / "log"
    for n in range(20):
        sample.leave_a_line(str(log), str(n))
    sample.wait_for_file.using(priority=1).enqueue(str(tmp_path / "never"), str(log))
    victim = start("run_tasks", "--processes=0", "--threads=1", "--no-reload")
    eventually(log.exists)
    victim.signal(signal.SIGKILL)
    victim.end()
    stuck = Job.objects.running().get()
    assert stuck.task == sample.wait_for_file.path
    assert start("run_tasks", "--drain").end() == 0
    statuses = Counter(Job.objects.values_list("status", flat=True))
    assert statuses == {"RUNNING": 1, "SUCCESSFUL": 20}


def test_two_workers_run_five_thousand_jobs_once_each(start, tmp_path):
    total, log, gate = 5000, tmp_path / "log", tmp_path / "gate"
    # More than one worker takes, so that neither is done before the other began.
    held = [str(gate), str(tmp_path / "held")]
    make_jobs(200, lambda n: held, task=sample.wait_for_file.path, priority=1)
    make_jobs(total, lambda n: [str(log), str(n)], task=sample.leave_a_line.path)
    options = ["--drain", "--threads=24", "--verbosity=0"]
    workers = [start("run_tasks", *options) for _ in range(2)]
    takers = Job.objects.exclude(last_worker=None).values("last_worker").distinct()
    eventually(lambda: takers.count() == 2)
    gate.touch()
    assert [worker.end() for worker in workers] == [0, 0]
    assert sorted(map(int, log.read_text().split())) == list(range(total))
    rows = Job.objects.values_list("status", "attempt", "run_token")
    assert set(rows) == {("SUCCESSFUL", 1, 1)}


def test_a_running_job_is_cancelled_from_another_process(start, tmp_path):
    log = tmp_path / "log"
    sample.wait_for_file(str(tmp_path / "never"), str(log))
    start("run_tasks", "--no-reload")
    eventually(log.exists)
    assert lifecycle.cancel(Job.objects.all()) == (0, 1)
    eventually(lambda: Job.objects.cancelled().exists())


def test_without_tables_it_says_so_and_ends(start, tmp_path, only):
    only("sqlite")
    worker = start("run_tasks", BGTASKS_DB_NAME=str(tmp_path / "empty.sqlite3"))
    assert worker.end() != 0
    assert "manage.py migrate django_bgtasks" in worker.output


@pytest.mark.once
class TestReload:
    SOURCE = (
        "from django_bgtasks import background\n\n\n"
        "@background\ndef version():\n    return {}\n"
    )

    @pytest.fixture
    def write(self, tmp_path):
        """Write a version of the module, each newer than the one before."""
        (tmp_path / "app").mkdir()
        (tmp_path / "app" / "__init__.py").touch()
        clock = count(time.time() + 10, 10)

        def write(value):
            module = tmp_path / "app" / "tasks.py"
            module.write_text(self.SOURCE.format(value))
            moment = next(clock)
            os.utime(module, (moment, moment))

        write(1)
        return write

    @pytest.fixture
    def worker(self, start, tmp_path, write):
        worker = start(
            "run_tasks",
            "--reload",
            BGTASKS_TEST_APP="app",
            PYTHONPATH=f"{ROOT}:{tmp_path}",
        )
        worker.wait_for("started")
        make_job(task="app.tasks.version")
        eventually(lambda: Job.objects.successful().filter(result=1).exists())
        return worker

    def test_new_code_is_taken_up(self, worker, write):
        write(2)
        worker.wait_for("starts anew")
        worker.wait_for("started", times=2)
        make_job(task="app.tasks.version")
        eventually(lambda: Job.objects.successful().filter(result=2).exists())
        worker.signal(signal.SIGTERM)
        assert worker.end() == 0

    def test_a_signal_is_stronger(self, worker, write, tmp_path):
        log = tmp_path / "log"
        gate = tmp_path / "gate"
        sample.wait_for_file(str(gate), str(log))
        eventually(log.exists)
        write(2)
        worker.wait_for("starts anew")
        worker.signal(signal.SIGTERM)
        gate.touch()
        assert worker.end() == 0
        assert "started" not in worker.output.split("starts anew")[1]

    def test_code_that_does_not_load_is_not(self, worker, write):
        write("(")
        worker.wait_for("does not load")
        make_job(task="app.tasks.version")
        eventually(lambda: Job.objects.successful().filter(result=1).count() == 2)
        write(3)
        worker.wait_for("started", times=2)
        worker.signal(signal.SIGINT)
        assert worker.end() == 0
