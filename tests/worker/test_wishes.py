"""What somebody wants of a worker, or of a queue, while it works."""

from datetime import timedelta

import pytest
from django.utils import timezone

from django_bgtasks.models import Job, Queue
from django_bgtasks.models import Worker as WorkerRow
from django_bgtasks.models.worker import Instruction
from django_bgtasks.store import queues, workers
from django_bgtasks.worker import child
from tests.factories import make_jobs
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db(transaction=True)


def tell(instruction):
    return workers.instruct(WorkerRow.objects.values_list("pk", flat=True), instruction)


def statuses():
    return list(Job.objects.order_by("id").values_list("status", flat=True))


@pytest.fixture
def told(worker, time):
    """Tell the worker something, and let it look."""

    def tell_it(instruction):
        assert tell(instruction) == 1
        time.advance(1)
        worker.tick()

    return tell_it


def test_a_quiet_worker_runs_what_it_has_and_claims_nothing(worker, until, told):
    sample.wait_at_gate()
    until(sample.started.is_set)
    told(Instruction.QUIET)
    sample.add(1)
    sample.gate.set()
    until(lambda: statuses() == ["SUCCESSFUL", "READY"])
    worker.tick()
    assert statuses() == ["SUCCESSFUL", "READY"]
    assert not worker._is_done()
    # It comes to it by itself, at once: no further look, no further second.
    told("")
    worker.tick()
    until(lambda: statuses() == ["SUCCESSFUL", "SUCCESSFUL"])


def test_a_quiet_worker_rests(worker, until, told):
    """Nothing to wait for but chores and wishes, whatever there was before."""
    sample.add(1)
    until(lambda: statuses() == ["SUCCESSFUL"])
    told(Instruction.QUIET)
    worker.tick()
    worker._patience.renew()
    assert worker._pause(None) > 0.3


def test_what_it_has_claimed_ahead_is_handed_back(worker, until, told):
    for n in range(4):
        sample.wait_at_gate(n)
    until(lambda: len(sample.calls) == 4)
    worker._pace.note(100, 0.0)
    make_jobs(20)
    until(lambda: Job.objects.running().count() == 24)
    told(Instruction.QUIET)
    worker.tick()
    assert Job.objects.running().count() == 4
    assert {job.attempt for job in Job.objects.ready()} == {0}


def test_a_draining_worker_ends_when_its_jobs_have(worker, until, told, time):
    sample.wait_at_gate()
    until(sample.started.is_set)
    sample.add(1)
    told(Instruction.DRAIN)
    time.advance(3600)  # whatever the grace of a shutdown
    worker.tick()
    assert not worker._is_done()
    sample.gate.set()
    until(worker._is_done)
    assert worker.ends_for_good
    assert Job.objects.get(task=sample.wait_at_gate.path).status == "SUCCESSFUL"
    assert Job.objects.get(task=sample.add.path).attempt in (0, 1)


def test_to_drain_can_be_undone(worker, until, told):
    sample.wait_at_gate()
    until(sample.started.is_set)
    told(Instruction.DRAIN)
    told("")
    sample.gate.set()
    until(lambda: statuses() == ["SUCCESSFUL"])
    assert not worker._is_done()
    assert not worker.ends_for_good


def test_to_stop_is_as_by_a_signal(worker, told):
    told(Instruction.STOP)
    assert worker._stopping
    assert worker._is_done()
    assert worker.ends_for_good


def test_a_worker_that_is_quiet_makes_no_room(worker, told):
    """Who takes its place would not be quiet."""
    worker._share._jobs_left = 0
    told(Instruction.QUIET)
    assert not worker._is_done()
    told("")
    assert worker._is_done()
    assert worker.makes_room


def test_its_row_is_asked_once_a_second(worker, time, monkeypatch):
    asked = []
    monkeypatch.setattr(workers, "instruction_of", asked.append)
    for _ in range(10):
        time.advance(0.2)
        worker.tick()
    assert len(asked) == 2


@pytest.mark.parametrize("instruction", [Instruction.DRAIN, Instruction.STOP])
def test_a_real_worker_heeds_it(at_work, instruction):
    worker = at_work()
    result = sample.add(1, b=2)
    assert result.get(timeout=30) == 3
    assert tell(instruction) == 1
    (thread,) = at_work.threads()
    thread.join(30)
    assert not thread.is_alive()
    assert worker.ends_for_good
    assert not WorkerRow.objects.exists()


def test_a_real_worker_is_quiet_and_works_again(at_work):
    worker = at_work()
    assert sample.add(1).get(timeout=30) == 1
    tell(Instruction.QUIET)
    at_work.until(lambda: worker._instruction)
    waits = sample.add(1)
    with pytest.raises(TimeoutError):
        waits.get(timeout=0.3)
    tell("")
    assert waits.get(timeout=30) == 1


def test_a_real_worker_begins_quiet_if_it_is_to(at_work):
    at_work(quiet=True)
    assert WorkerRow.objects.get().instruction == Instruction.QUIET
    waits = sample.add(1)
    with pytest.raises(TimeoutError):
        waits.get(timeout=0.3)
    tell("")
    assert waits.get(timeout=30) == 1


def test_what_a_newer_version_tells_is_not_heeded(worker, until, told, time, caplog):
    told(Instruction.QUIET)
    told("nap")
    sample.add(1)
    until(lambda: statuses() == ["SUCCESSFUL"])
    time.advance(1)
    worker.tick()
    assert not worker._is_done()
    assert caplog.text.count("does not know the instruction 'nap'") == 1


def test_nothing_begins_once_its_queue_is_paused(at_work, tmp_path):
    """But what a worker has claimed ahead: of such jobs, 50 ms of work."""
    log = tmp_path / "log"
    make_jobs(2000, lambda n: [str(log), 0.005], task=sample.sleep.path, queue="mail")
    worker = at_work(threads=2)
    at_work.until(lambda: Job.objects.finished().count() > 20)
    queues.pause("mail")
    paused_at = timezone.now()
    at_work.until(lambda: not worker._running)
    assert Job.objects.ready().count() > 1000
    begun = Job.objects.finished().latest("started_at").started_at
    ended = Job.objects.finished().latest("finished_at").finished_at
    assert begun <= paused_at + timedelta(milliseconds=50)
    assert ended <= paused_at + timedelta(seconds=1)
    assert not worker._stopping


def test_a_pause_ends_by_itself(at_work):
    at_work()
    queues.pause("default", until=timezone.now() + timedelta(seconds=0.5))
    result = sample.add(1)
    assert result.get(timeout=30) == 1
    assert Queue.objects.get().resume_at is None


def test_of_two_workers_one_resumes_a_queue(at_work, monkeypatch):
    resumed, resume_due = [], queues.resume_due

    def note(now):
        resumed.extend(resume_due(now))

    monkeypatch.setattr(queues, "resume_due", note)
    at_work()
    at_work()
    for n in range(5):
        queues.pause(f"q{n}", until=timezone.now())
    result = sample.add.using(queue_name="q4").enqueue(1)
    assert result.get(timeout=30) == 1
    at_work.until(lambda: len(resumed) >= 5)
    assert sorted(resumed) == ["q0", "q1", "q2", "q3", "q4"]


def test_exit_codes_are_different():
    codes = {0, 1, child.MAKES_ROOM, child.ENDS_FOR_GOOD, child.STAYS_QUIET}
    assert len(codes) == 5
