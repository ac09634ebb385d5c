"""Taking back what dead workers left, by somebody who is no worker."""

import logging
from datetime import timedelta

import pytest

from django_bgtasks._framework import task_finished
from django_bgtasks.models import Job, Tally, Worker
from django_bgtasks.outcomes import Lost
from django_bgtasks.rescuing import take_back
from django_bgtasks.signals import job_ended
from django_bgtasks.store import workers
from django_bgtasks.store.engines import get_engine
from tests.factories import living_worker, make_running
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db


@pytest.fixture
def lost():
    long_ago = get_engine().now() - timedelta(minutes=5)
    return living_worker(heartbeat_at=long_ago, hostname="gone", pid=9)


def row(job):
    job.refresh_from_db()
    return job.status, job.attempt, job.worker


def test_jobs_are_tried_again_as_their_policy_says(lost):
    again = make_running(lost.pk)
    last = make_running(lost.pk, max_attempts=1)
    never = make_running(lost.pk, on_lost="fail")
    taken = take_back([lost.pk], may_go_on=True)
    assert row(again) == ("SCHEDULED", 1, None)
    assert row(last) == row(never) == ("FAILED", 1, None)
    assert {job.pk for job in taken.jobs} == {again.pk, last.pk, never.pk}
    assert taken.workers == [lost]
    attempt = again.attempts.get()
    assert (attempt.ending, attempt.worker) == ("LOST", lost.pk)
    assert "The worker gone:9 was not heard of for 0:00:45 while it" in attempt.error
    assert not Worker.objects.exists()


def test_or_fail(lost):
    job = make_running(lost.pk)
    take_back([lost.pk], may_go_on=False)
    assert row(job) == ("FAILED", 1, None)
    assert job.attempts.get().ending == "LOST"
    job.refresh_from_db()
    assert job.finished_at is not None


def test_who_is_alive_keeps_its_jobs():
    alive = living_worker()
    job = make_running(alive.pk)
    taken = take_back([alive.pk], may_go_on=False)
    assert taken == ([], [])
    assert row(job) == ("RUNNING", 1, alive.pk)
    assert Worker.objects.exists()


def test_who_was_not_named_keeps_its_jobs(lost):
    other = living_worker(heartbeat_at=lost.heartbeat_at)
    job = make_running(other.pk)
    assert take_back([lost.pk], may_go_on=True).workers == [lost]
    assert row(job) == ("RUNNING", 1, other.pk)


def test_jobs_of_nobody_are_taken_back():
    job = make_running()
    taken = take_back([job.worker], may_go_on=True)
    assert [job.pk for job in taken.jobs] == [job.pk]
    assert row(job) == ("SCHEDULED", 1, None)
    assert not Worker.objects.exists()


def test_two_do_not_take_the_same(lost, monkeypatch):
    """Another one has taken it between the look and the write."""
    job = make_running(lost.pk)
    read = workers.lost

    def look(now, timeout):
        silent = read(now, timeout)
        found = list(silent)
        Worker.objects.filter(pk=lost.pk).update(heartbeat_at=now)
        silent._result_cache = found
        return silent

    monkeypatch.setattr(workers, "lost", look)
    assert take_back(None, may_go_on=False) == ([], [])
    assert row(job) == ("RUNNING", 1, lost.pk)


def test_it_is_announced_and_counted(lost, caplog):
    make_running(lost.pk, max_attempts=1, queue="mail")
    make_running(lost.pk, queue="mail")
    ended, finished = [], []

    def note(job, outcome, duration, **kwargs):
        ended.append((type(outcome), duration >= 0))

    def note_finished(task_result, **kwargs):
        finished.append(task_result.status)

    job_ended.connect(note)
    task_finished.connect(note_finished)
    try:
        with caplog.at_level(logging.INFO, "django_bgtasks"):
            take_back([lost.pk], may_go_on=True)
    finally:
        job_ended.disconnect(note)
        task_finished.disconnect(note_finished)
    assert ended == [(Lost, True)] * 2
    assert finished == ["FAILED"]
    assert "failed (attempt 1 of 1)" in caplog.text
    tally = Tally.objects.get()
    assert (tally.queue, tally.failed, tally.retried) == ("mail", 1, 1)


def test_the_back_off_decides_when(lost):
    job = make_running(lost.pk, task=sample.fail_slowly.path)
    before = get_engine().now()
    take_back([lost.pk], may_go_on=True)
    job.refresh_from_db()
    assert job.run_after - before >= timedelta(seconds=10)


def test_what_a_zombie_finished_meanwhile_stays(lost, monkeypatch):
    job = make_running(lost.pk)
    monkeypatch.setattr(
        "django_bgtasks.store.lifecycle.running_jobs",
        lambda worker: [Job.objects.get(pk=job.pk)] if finish() else [],
    )

    def finish():
        stale = Job.objects.get(pk=job.pk)
        Job.objects.filter(pk=job.pk).update(run_token=7)
        monkeypatch.setattr(Job.objects, "get", lambda pk: stale)
        return True

    taken = take_back([lost.pk], may_go_on=False)
    monkeypatch.undo()
    assert taken.jobs == []
    assert row(job) == ("RUNNING", 1, lost.pk)
    assert not Tally.objects.exists()
