"""Delays and expiry: when a job may start, and when it may not any more."""

from datetime import datetime, timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from django_bgtasks import timing
from django_bgtasks._framework import InvalidTask
from django_bgtasks.models import Attempt, Job, Queue
from django_bgtasks.store import maintenance
from tests.factories import make_job, make_jobs, make_running
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db(transaction=True)

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("delay", [90, 90.0, timedelta(seconds=90)])
def test_a_delay_counts_from_the_enqueueing(job_of, delay):
    job = job_of(sample.add.using(delay=delay).enqueue(1))
    assert job.status == "SCHEDULED"
    assert job.run_after == job.enqueued_at + timedelta(seconds=90)


@pytest.mark.parametrize("delay", [0, -5, timedelta(days=-9999)])
def test_what_is_past_runs_now(job_of, delay):
    assert job_of(sample.add.using(delay=delay).enqueue(1)).status == "READY"
    past = timezone.now() - HOUR
    assert job_of(sample.add.using(run_after=past).enqueue(1)).status == "READY"


def test_the_call_goes_before_the_task(job_of):
    slow = sample.add.using(delay=HOUR)
    at = timezone.now() + 2 * HOUR
    assert job_of(slow.using(run_after=at).enqueue(1)).run_after == at
    soon = job_of(slow.using(run_after=at).using(delay=5).enqueue(1))
    assert soon.run_after < at - HOUR


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delay": 5, "run_after": timezone.now()}, "run_after and delay; say one"),
        ({"delay": "soon"}, r"delay of .*add is 'soon'; it must be seconds"),
        ({"delay": True}, "delay of"),
        ({"expires": 0}, "expires of .* must be seconds"),
        ({"expires": "x"}, "expires of"),
    ],
)
def test_what_cannot_be_is_said_at_once(options, message):
    with pytest.raises(InvalidTask, match=message):
        sample.add.using(**options)


@pytest.mark.skipif(not settings.USE_TZ, reason="there, all are naive")
@pytest.mark.parametrize("option", ["run_after", "expires"])
def test_naive_moments_are_refused_with_time_zones(option):
    with pytest.raises(InvalidTask, match=r"aware"):
        sample.add.using(**{option: datetime(2030, 1, 1)})


@pytest.mark.skipif(settings.USE_TZ, reason="there, all are aware")
@pytest.mark.parametrize("option", ["run_after", "expires"])
def test_aware_moments_are_refused_without_time_zones(option):
    with pytest.raises(InvalidTask, match="naive"):
        sample.add.using(**{option: datetime.fromisoformat("2030-01-01T00:00+00:00")})


@pytest.mark.parametrize("expires", [60, MINUTE])
def test_expiry_counts_from_the_enqueueing(job_of, expires):
    job = job_of(sample.add.using(expires=expires).enqueue(1))
    assert job.expires_at == job.enqueued_at + MINUTE


def test_a_job_that_could_never_start_is_refused():
    with pytest.raises(InvalidTask, match="would expire at .* and not start before"):
        sample.add.using(delay=HOUR, expires=MINUTE).enqueue(1)
    assert not Job.objects.exists()


def test_a_job_in_time_runs(drain, job_of):
    result = sample.add.using(expires=HOUR).enqueue(1)
    drain()
    assert job_of(result).status == "SUCCESSFUL"


def test_a_job_that_is_claimed_too_late_is_cancelled(drain, job_of):
    result = sample.add.using(expires=HOUR, unique=True).enqueue(1)
    Job.objects.update(expires_at=timezone.now() - MINUTE)
    drain()
    job = job_of(result)
    assert sample.calls == []
    assert (job.status, job.attempt, job.worker) == ("CANCELLED", 0, None)
    assert job.is_expired
    assert job.unique_key is None
    assert list(Job.objects.expired()) == [job]
    assert not Attempt.objects.exists()
    result.refresh()
    assert result.status == "FAILED"


def test_what_was_claimed_in_time_and_waited_is_not_begun_late(
    worker, until, time, job_of
):
    """A worker claims ahead; what counts is when the body begins."""
    first = [sample.wait_at_gate() for _ in range(4)]
    last = sample.add.using(expires=HOUR).enqueue(1)
    until(lambda: Job.objects.running().count() >= len(first))
    time.advance(2 * HOUR.total_seconds())
    sample.gate.set()
    until(lambda: Job.objects.finished().count() == len(first) + 1)
    assert job_of(last).is_expired
    assert 1 not in sample.calls


def test_no_attempt_begins_late(drain, job_of):
    result = sample.fail_slowly.using(expires=HOUR).enqueue()
    drain()
    Job.objects.update(expires_at=timezone.now(), run_after=timezone.now())
    drain()
    job = job_of(result)
    assert (job.status, job.attempt, job.is_expired) == ("CANCELLED", 1, True)


def test_what_nobody_claims_is_cancelled_all_the_same(time, worker, job_of):
    Queue.objects.create(name="default", paused_at=timezone.now())
    waiting = sample.add.using(expires=MINUTE, unique=True).enqueue(1)
    later = sample.add.using(expires=HOUR).enqueue(2)
    worker.tick()
    assert job_of(waiting).status == "READY"
    time.advance(61)
    worker.tick()
    job = job_of(waiting)
    assert (job.status, job.is_expired, job.unique_key) == ("CANCELLED", True, None)
    assert job_of(later).status == "READY"


def test_expiry_goes_in_batches_and_leaves_what_runs():
    past = timezone.now() - HOUR
    make_jobs(5, expires_at=past)
    make_running(expires_at=past)
    make_job(status="SCHEDULED", run_after=timezone.now() + HOUR, expires_at=past)
    now = timezone.now()
    assert [len(maintenance.expire(now, limit=4)) for _ in range(3)] == [4, 2, 0]
    assert Job.objects.running().count() == 1


def test_a_cancelled_job_has_not_expired():
    sample.add.using(expires=HOUR).enqueue(1).cancel()
    job = Job.objects.get()
    assert job.status == "CANCELLED"
    assert not job.is_expired
    assert not Job.objects.expired().exists()


def test_what_expired_can_be_retried_by_hand(drain, job_of):
    """Whoever does that wants it to run, however late."""
    result = sample.add.using(expires=HOUR).enqueue(1)
    maintenance.expire(timing.now() + 2 * HOUR)
    assert Job.objects.expired().retry() == 1
    assert job_of(result).expires_at is None
    drain()
    assert job_of(result).status == "SUCCESSFUL"
