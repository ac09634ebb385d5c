"""``atomic=True``: what the body writes and its success are one transaction."""

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections

from django_bgtasks import background
from django_bgtasks._framework import InvalidTask
from django_bgtasks.models import Attempt, Job
from django_bgtasks.outcomes import Snoozed
from django_bgtasks.worker.event_loop import EventLoop
from django_bgtasks.worker.execution import TROUBLE_DELAY, Execution
from tests.factories import make_running
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db(transaction=True)


def names():
    return list(User.objects.values_list("username", flat=True))


def test_both_are_committed(drain):
    sample.write_a_user_once("ada")
    drain()
    job = Job.objects.get()
    assert (job.status, job.result, job.worker) == ("SUCCESSFUL", "ada", None)
    assert names() == ["ada"]


def test_neither_is_after_an_error(drain):
    sample.write_a_user_once.using(max_attempts=1).enqueue("ada", then="fail")
    drain()
    assert Job.objects.get().status == "FAILED"
    assert names() == []


def test_neither_is_when_the_job_was_lost(worker, until, only):
    only("postgresql", "mysql")  # on SQLite nobody else can write meanwhile
    sample.write_a_user_once("ada", then="wait")
    until(sample.started.is_set)
    Job.objects.update(run_token=99)
    sample.gate.set()
    until(lambda: not worker._running)
    job = Job.objects.get()
    assert (job.status, job.run_token) == ("RUNNING", 99)
    assert names() == []


def test_cancelled_meanwhile_it_is_interrupted(worker, until, time, only):
    only("postgresql", "mysql")
    sample.write_a_user_once("ada", then="wait")
    until(sample.started.is_set)
    Job.objects.all().cancel()
    time.advance(2)
    worker.tick()
    sample.gate.set()
    until(lambda: Job.objects.cancelled().exists())
    assert names() == []


def test_one_that_stops_by_itself_is_rolled_back(worker, until, time, only):
    only("postgresql", "mysql")
    sample.write_a_user_until_cancelled("ada")
    until(sample.started.is_set)
    Job.objects.all().cancel()
    time.advance(2)
    until(lambda: Job.objects.cancelled().exists())
    assert names() == []


def test_what_fails_after_the_commit_is_no_failure(drain, caplog):
    sample.write_a_user_once("ada", then="fail after the commit")
    drain()
    assert Job.objects.get().status == "SUCCESSFUL"
    assert names() == ["ada"]
    assert not Attempt.objects.exists()
    assert "Trouble after the commit" in caplog.text


def test_one_that_cannot_begin_is_not_charged(worker, only):
    only("sqlite")
    job = make_running(task=sample.write_a_user_once.path, args=["ada"])
    other = connections.create_connection("default")
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 1")
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN IMMEDIATE")
        outcome = Execution(job, worker._clock).run(EventLoop())
    finally:
        other.close()
    assert outcome == Snoozed(TROUBLE_DELAY)
    assert not sample.started.is_set()


def test_async_functions_cannot_be():
    with pytest.raises(InvalidTask, match="atomic of .* is True; it must be False"):

        @background(atomic=True)
        async def task():
            """Its body would run on another connection than the transaction."""
