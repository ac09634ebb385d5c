"""Workers that are not heard of, seen by one that is alive; on a clock that moves."""

import logging
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from django_bgtasks._framework import task_finished
from django_bgtasks.conf import get_settings
from django_bgtasks.exceptions import CancelRequested, TimeLimitExceeded, WorkerLost
from django_bgtasks.models import Attempt, Job, Worker
from django_bgtasks.outcomes import Lost
from django_bgtasks.signals import job_ended
from django_bgtasks.worker.clock import Clock
from django_bgtasks.worker.rescue import rescue, rescue_lost
from tests.factories import living_worker, make_running
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db(transaction=True)

TIMEOUT = timedelta(seconds=45)


@pytest.fixture
def clock():
    now = timezone.now()
    clock = Clock(lambda: now, lambda: 0.0)
    clock.sync()
    return clock


@pytest.fixture
def lost(clock):
    """A worker that nobody has heard of for as long as that."""
    return living_worker(heartbeat_at=clock.now() - TIMEOUT, hostname="gone", pid=9)


@pytest.fixture
def on_signal():
    """What a signal was sent with, from now on."""
    connected = []

    def listen(signal):
        sent = []

        def note(**kwargs):
            sent.append(kwargs)

        signal.connect(note)
        connected.append((signal, note))
        return sent

    yield listen
    for signal, note in connected:
        signal.disconnect(note)


def row(job):
    job.refresh_from_db()
    return job.status, job.attempt, job.worker


def test_its_jobs_are_tried_again(lost, clock):
    job = make_running(lost.pk)
    rescue_lost(clock)
    assert row(job) == ("SCHEDULED", 1, None)
    attempt = job.attempts.get()
    assert (attempt.ending, attempt.worker) == ("LOST", lost.pk)
    assert "The worker gone:9 was not heard of for 0:00:45 while it" in attempt.error
    assert not Worker.objects.exists()


@pytest.mark.parametrize(
    ("columns", "status"),
    [
        ({"max_attempts": 1}, "FAILED"),
        ({"on_lost": "fail"}, "FAILED"),
        ({"cancel_requested_at": timezone.now()}, "CANCELLED"),
        ({"task": "not.known.here"}, "SCHEDULED"),
        # Who gives up after some errors does not for that.
        ({"task": sample.fail_for_good.path}, "SCHEDULED"),
        ({"task": sample.fail_by_callable.path}, "SCHEDULED"),
    ],
)
def test_they_leave_as_after_a_failure(lost, clock, columns, status):
    job = make_running(lost.pk, **columns)
    rescue_lost(clock)
    assert row(job) == (status, 1, None)
    assert job.attempts.get().ending == "LOST"


def test_the_back_off_decides_when(lost, clock):
    job = make_running(lost.pk, task=sample.fail_slowly.path)
    rescue_lost(clock)
    job.refresh_from_db()
    assert job.run_after == clock.now() + timedelta(seconds=10)


def test_one_that_is_heard_of_keeps_its_jobs(clock):
    alive = living_worker(heartbeat_at=clock.now() - TIMEOUT + timedelta(seconds=1))
    job = make_running(alive.pk)
    rescue_lost(clock)
    assert row(job) == ("RUNNING", 1, alive.pk)
    assert Worker.objects.exists()


def test_jobs_of_nobody_are_taken_back(clock):
    job = make_running()
    rescue_lost(clock)
    assert row(job) == ("SCHEDULED", 1, None)


def test_it_is_announced_as_an_end(lost, clock, on_signal, caplog):
    make_running(lost.pk, max_attempts=1)
    ended, finished = on_signal(job_ended), on_signal(task_finished)
    with caplog.at_level(logging.INFO, "django_bgtasks"):
        rescue_lost(clock)
    assert isinstance(ended[0]["outcome"], Lost)
    assert finished[0]["task_result"].status == "FAILED"
    assert "failed (attempt 1 of 1)" in caplog.text
    assert "NoneType: None" not in caplog.text
    assert "Worker gone:9 was not heard of for 0:00:45; 1 jobs" in caplog.text


def test_many_are_taken_back_at_once(lost, clock, monkeypatch):
    monkeypatch.setattr("django_bgtasks.worker.rescue.BATCH", 2)
    jobs = [make_running(lost.pk) for _ in range(5)]
    assert rescue(lost.pk, lambda job: None, clock) == 5
    assert {row(job) for job in jobs} == {("READY", 0, None)}
    assert not Attempt.objects.exists()


def test_what_a_zombie_took_meanwhile_is_left_to_it(lost, clock):
    """Whoever finished or claimed it first has changed the guard."""
    job = make_running(lost.pk)

    def verdict(job):
        Job.objects.update(run_token=7)
        return WorkerLost("Gone", 1, 3)

    rescue(lost.pk, verdict, clock)
    assert row(job) == ("RUNNING", 1, lost.pk)
    assert job.run_token == 7


def test_one_that_was_taken_for_dead_stops(worker, until, time, caplog):
    sample.wait_at_gate()
    until(sample.started.is_set)
    Worker.objects.all().delete()
    Job.objects.update(run_token=9)
    time.advance(10)
    worker.tick()
    assert worker.was_taken_for_dead
    assert worker._is_done()
    assert "its jobs were given to others" in caplog.text
    sample.gate.set()
    worker.shut_down()
    job = Job.objects.get()
    assert (job.status, job.run_token) == ("RUNNING", 9)


def test_workers_beat_often_enough(worker, time):
    timeout = get_settings().heartbeat_timeout.total_seconds()
    last = Worker.objects.get().heartbeat_at
    for _ in range(4):
        time.advance(timeout / 4)
        worker.tick()
        beat = Worker.objects.get().heartbeat_at
        assert beat > last
        last = beat


def test_nobody_is_lost_right_after_an_outage(worker, time):
    """The database was away for the others, too."""
    now = timezone.now()
    time.advance(100)
    worker.tick()
    silent = living_worker(heartbeat_at=now)
    worker._survive(OperationalError("gone"))
    time.advance(22)
    worker.tick()
    assert Worker.objects.filter(pk=silent.pk).exists()
    time.advance(11)
    worker.tick()
    assert not Worker.objects.filter(pk=silent.pk).exists()


def test_nobody_is_lost_right_after_ones_own_silence(worker, time):
    """Whatever this one waited for, a lock or a slow server, the others did, too."""
    time.advance(30)
    worker.tick()
    silent = living_worker(heartbeat_at=worker._clock.now())
    time.advance(50)
    worker.tick()
    assert Worker.objects.filter(pk=silent.pk).exists()
    for _ in range(3):
        time.advance(11)
        worker.tick()
    assert not Worker.objects.filter(pk=silent.pk).exists()


@pytest.mark.parametrize(
    ("error", "status", "ending"),
    [
        (TimeLimitExceeded(), "SCHEDULED", "TIMED_OUT"),
        (CancelRequested(), "CANCELLED", "CANCELLED"),
    ],
)
def test_a_job_for_which_its_process_was_killed(lost, clock, error, status, ending):
    """It had heeded neither its time limit nor its cancellation."""
    job = make_running(lost.pk)
    rescue(lost.pk, lambda job: error, clock)
    assert row(job) == (status, 1, None)
    assert job.attempts.get().ending == ending
