"""Workers that die, and what becomes of their jobs."""

import os
import signal
from collections import Counter
from datetime import timedelta

import pytest
from django.db.models import F

from django_bgtasks.models import Attempt, Job, Worker
from tests.end_to_end.test_processes import eventually
from tests.factories import make_job, make_jobs
from tests.sample import tasks as sample

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

#: In which a lost host is found soon.
HURRIED = {"HEARTBEAT_TIMEOUT": 2, "INTERRUPT_GRACE": 0.5, "POLL_INTERVAL": 0.1}


def endings(job_id):
    rows = Attempt.objects.filter(job=job_id).order_by("id")
    return list(rows.values_list("number", "ending"))


def has_beaten():
    # Not only at its start, when it has other things to write as well.
    later = F("started_at") + timedelta(seconds=0.3)
    return Worker.objects.filter(heartbeat_at__gt=later).exists()


def lines(path):
    return path.read_text().split() if path.exists() else []


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("exit", "ended with exit code 3"),
        ("crash", "was killed by SIGSEGV"),
        ("kill", "was killed by SIGKILL"),
    ],
)
def test_a_job_that_kills_its_process_fails_and_the_others_run(
    start, tmp_path, how, told
):
    poison = sample.end_the_process(how, priority=1)
    log = tmp_path / "log"
    make_jobs(300, lambda n: [str(log), str(n)], task=sample.leave_a_line.path)
    supervisor = start("run_tasks", "--threads=1", settings=HURRIED)
    eventually(lambda: not Job.objects.unfinished().exists())
    supervisor.signal(signal.SIGTERM)
    assert supervisor.end() == 0
    job = Job.objects.get(pk=poison.id)
    assert (job.status, job.attempt) == ("FAILED", 2)
    assert endings(job.pk) == [(1, "LOST"), (2, "LOST")]
    last = job.attempts.last()
    assert last.exception_class_path == "django_bgtasks.exceptions.WorkerLost"
    assert told in last.error
    assert "in attempt 2 of 2. If that happens each time, the job may be" in last.error
    # The process died twice around them, and none of them is charged for that.
    assert Job.objects.successful().filter(attempt=1).count() == 300
    assert not Attempt.objects.exclude(job=job.pk).exists()
    assert not Worker.objects.exists()


def test_those_that_ran_beside_it_are_not_charged(start, tmp_path):
    gate, log, fuse = tmp_path / "gate", tmp_path / "log", tmp_path / "fuse"
    poison = sample.end_the_process_later(str(fuse))
    for _ in range(2):
        sample.wait_for_file(str(gate), str(log))
    supervisor = start("run_tasks", "--threads=3", settings=HURRIED)
    eventually(lambda: len(lines(log)) == 2 and Job.objects.running().count() == 3)
    fuse.touch()
    # It is not known which of the three it was: they are run again, one at a time.
    eventually(lambda: len(lines(log)) >= 3 or endings(poison.id))
    gate.touch()
    eventually(lambda: not Job.objects.unfinished().exists())
    supervisor.signal(signal.SIGTERM)
    assert supervisor.end() == 0
    assert endings(poison.id) == [(1, "LOST"), (2, "LOST")]
    innocent = Job.objects.exclude(pk=poison.id)
    assert set(innocent.values_list("status", "attempt")) == {("SUCCESSFUL", 1)}
    assert not Attempt.objects.exclude(job=poison.id).exists()


def test_a_drain_ends_when_the_rest_is_done(start, tmp_path):
    sample.end_the_process.using(priority=1).enqueue("exit")
    log = tmp_path / "log"
    make_jobs(50, lambda n: [str(log), str(n)], task=sample.leave_a_line.path)
    assert start("run_tasks", "--drain", settings=HURRIED).end() == 0
    statuses = Counter(Job.objects.values_list("status", flat=True))
    assert statuses["SUCCESSFUL"] == 50
    assert not Job.objects.running().exists()


def test_what_must_not_be_begun_twice_fails(start, tmp_path):
    log = tmp_path / "log"
    result = sample.run_once_at_most(str(log))
    supervisor = start("run_tasks", settings=HURRIED)
    eventually(lambda: Job.objects.failed().exists())
    supervisor.signal(signal.SIGTERM)
    assert supervisor.end() == 0
    assert endings(result.id) == [(1, "LOST")]
    assert lines(log) == ["running"]


def test_a_lost_host_is_found_by_another(start, tmp_path):
    gate, log = tmp_path / "gate", tmp_path / "log"
    result = sample.wait_for_file.using(max_attempts=2).enqueue(str(gate), str(log))
    Job.objects.update(task=sample.wait_for_file.path)
    victim = start("run_tasks", "--processes=0", settings=HURRIED)
    eventually(lambda: lines(log))
    victim.signal(signal.SIGKILL)
    victim.end()
    gate.touch()
    other = start("run_tasks", settings=HURRIED)
    other.wait_for("1 jobs were taken back from it")
    other.wait_for("failed (attempt 1 of 2), again in")
    assert endings(result.id) == [(1, "LOST")]
    Job.objects.scheduled().update(run_after=Job.objects.get().enqueued_at)
    eventually(lambda: Job.objects.successful().filter(attempt=2).exists())
    other.signal(signal.SIGTERM)
    assert other.end() == 0
    assert not Worker.objects.exists()


def test_one_that_was_frozen_changes_nothing(start, tmp_path):
    gate, log = tmp_path / "gate", tmp_path / "log"
    result = sample.wait_for_file.using(max_attempts=2).enqueue(str(gate), str(log))
    zombie = start("run_tasks", "--processes=0", "--no-reload", settings=HURRIED)
    # Not in the middle of a transaction: on SQLite nobody else could write then.
    eventually(lambda: lines(log) and has_beaten())
    zombie.signal(signal.SIGSTOP)
    other = start("run_tasks", settings=HURRIED)
    other.wait_for("1 jobs were taken back from it")
    Job.objects.scheduled().update(run_after=Job.objects.get().enqueued_at)
    eventually(lambda: len(lines(log)) == 2)
    before = Job.objects.values().get()
    zombie.signal(signal.SIGCONT)
    zombie.wait_for("its jobs were given to others; it ends")
    # For whoever started it to start it again.
    assert zombie.end() == 1
    assert Job.objects.values().get() == before
    gate.touch()
    eventually(lambda: Job.objects.successful().exists())
    assert endings(result.id) == [(1, "LOST")]
    other.signal(signal.SIGTERM)
    assert other.end() == 0


@pytest.mark.parametrize(
    "task",
    # It is the process that is stuck, whatever the database.
    [sample.sleep, pytest.param(sample.hold_the_gil, marks=pytest.mark.once)],
)
class TestWhatHeedsNothing:
    @pytest.fixture
    def beside(self, start, tmp_path, task):
        """Start a worker with the task and another job beside it."""
        gate, log = tmp_path / "gate", tmp_path / "log"
        other = sample.wait_for_file(str(gate), str(log))

        def begin(**options):
            supervisor = start("run_tasks", settings={**HURRIED, "SHUTDOWN_GRACE": 0.1})
            eventually(lambda: len(lines(log)) == 1)
            stubborn = task.using(max_attempts=1, **options).enqueue(str(log), 60)
            eventually(lambda: len(lines(log)) == 2)
            return supervisor, stubborn, other, gate

        return begin

    def end(self, supervisor, other, gate):
        gate.touch()
        eventually(lambda: Job.objects.successful().filter(pk=other.id).exists())
        assert Job.objects.get(pk=other.id).attempt == 1
        assert not Attempt.objects.filter(job=other.id).exists()
        supervisor.signal(signal.SIGTERM)
        assert supervisor.end() == 0

    def test_its_time_limit(self, beside, task):
        supervisor, stubborn, other, gate = beside(timeout=0.5)
        eventually(lambda: Job.objects.failed().exists())
        assert endings(stubborn.id) == [(1, "TIMED_OUT")]
        self.end(supervisor, other, gate)

    def test_its_cancellation(self, beside, task):
        supervisor, stubborn, other, gate = beside()
        assert stubborn.cancel(by="ada")
        eventually(lambda: Job.objects.cancelled().exists())
        assert endings(stubborn.id) == [(1, "CANCELLED")]
        self.end(supervisor, other, gate)

    def test_the_end_of_the_worker(self, beside, task):
        supervisor, *_ = beside()
        supervisor.signal(signal.SIGTERM)
        assert supervisor.end() == 0
        rows = Job.objects.values_list("status", "attempt", "worker")
        assert set(rows) == {("READY", 0, None)}


def test_a_worker_killed_at_its_work_is_replaced_within_a_second(start, tmp_path):
    log = tmp_path / "log"
    sample.wait_for_file.using(max_attempts=1).enqueue(str(tmp_path / "no"), str(log))
    supervisor = start("run_tasks")
    eventually(lambda: lines(log))
    os.kill(Worker.objects.get().pid, signal.SIGKILL)
    supervisor.wait_for("failed (attempt 1 of 1)")
    make_job(task=sample.leave_a_line.path, args=[str(log), "ran"])
    eventually(lambda: lines(log) == ["running", "ran"])
    supervisor.signal(signal.SIGTERM)
    assert supervisor.end() == 0
