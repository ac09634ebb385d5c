"""Hosts come and go: asked politely, asked twice, and with new code."""

import signal

import pytest
from django.utils import timezone

from django_bgtasks.models import Attempt, Job
from tests.chaos.hosts import STARTED
from tests.chaos.size import size
from tests.factories import make_job

#: An app that only the new version of the project has.
NEWER = "tests.chaos.newer"


def test_hosts_are_replaced_all_the_time(storm):
    for _ in range(2):
        storm.start("--processes=2")
    for _ in range(size(4, 100)):
        storm.load.add(60)
        storm.await_progress(40)
        # The new one comes before the old one goes.
        old = storm.random.choice([host for host in storm.hosts if host.is_alive])
        storm.start("--processes=2")
        old.wait_for(STARTED)
        old.signal(storm.random.choice([signal.SIGTERM, signal.SIGINT]))
        assert old.end() == 0, old.output
    storm.settle()
    assert not Attempt.objects.filter(ending="LOST").exists()
    assert all(run.ended for runs in storm.audit.runs().values() for run in runs)


def test_hosts_are_asked_twice(storm):
    for _ in range(size(2, 40)):
        host = storm.start("--processes=2")
        storm.load.add(60)
        storm.await_progress(40)
        host.strike("asked twice")
        host.signal(signal.SIGTERM)
        host.signal(signal.SIGINT)
        assert host.end() in (0, 128 + signal.SIGTERM, 128 + signal.SIGINT)
    storm.start("--processes=2")
    storm.settle()


@pytest.mark.once
def test_a_task_that_only_new_hosts_know(storm):
    old = storm.start("--processes=2")
    jobs = [make_job(task=f"{NEWER}.tasks.brand_new") for _ in range(size(5, 50))]
    storm.load.add(60)
    old.wait_for("is no task that this worker knows; put back", times=len(jobs))
    storm.start("--processes=2", BGTASKS_TEST_APP=NEWER).wait_for(STARTED, times=2)
    assert old.stop() == 0
    # Now, and not when their pause is over.
    Job.objects.scheduled().update(run_after=timezone.now())
    storm.settle()
    for job in jobs:
        job.refresh_from_db()
        assert (job.status, job.attempt) == ("SUCCESSFUL", 1)
        assert not job.attempts.exists()
