"""Limits of jobs, which need not heed them, and of workers, which do."""

from collections import Counter as Counts

from django_bgtasks.models import Attempt, Job
from tests.chaos.app import tasks
from tests.chaos.load import QUEUES
from tests.chaos.size import size

#: Jobs for which a worker is good.
SHARE = 7


def test_stubborn_jobs_are_ended_alone(storm):
    """They heed no time limit, so that their process has to go."""
    storm.load.add_good(size(100, 3000))
    stubborn = [
        tasks.be_stubborn.using(queue_name=queue).enqueue(how).id
        for _ in range(size(1, 10))
        for how in tasks.HOLDS
        for queue in QUEUES
    ]
    storm.load.add_good(size(100, 3000))
    storm.start("--processes=2", settings={"INTERRUPT_GRACE": 0.5})
    storm.settle()
    for job in Job.objects.filter(pk__in=stubborn):
        endings = [attempt.ending for attempt in job.attempts.all()]
        assert endings == ["TIMED_OUT"] * job.max_attempts
    assert not Attempt.objects.exclude(job__in=stubborn).exists()
    good = Job.objects.exclude(pk__in=stubborn)
    assert set(good.values_list("status", "attempt")) == {("SUCCESSFUL", 1)}


def test_workers_make_room_all_the_time(storm):
    """After some jobs, or since they have become too large."""
    storm.load.add(size(300, 10_000))
    for _ in range(size(12, 200)):
        tasks.leak(20)
    few = storm.start("--processes=2", f"--max-jobs={SHARE}", "--queues=mail")
    small = storm.start("--processes=2", "--max-memory=120")
    few.wait_for("started: queues mail")
    with storm.load.flowing():
        storm.await_progress(size(600, 20_000))
    small.wait_for("it makes room for another one")
    storm.settle()
    runs = [run for runs in storm.audit.runs().values() for run in runs]
    taken = Counts(run.pid for run in runs if run.pid in few.queues)
    assert len(taken) > 2
    assert max(taken.values()) <= SHARE
    assert all(run.ended for run in runs)
    assert not Attempt.objects.filter(ending="LOST").exists()
