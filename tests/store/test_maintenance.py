import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from django_bgtasks.conf import DEFAULT_RETENTION
from django_bgtasks.models import Attempt, Job, Worker
from django_bgtasks.outcomes import Error, Failed
from django_bgtasks.store import lifecycle, maintenance, queues, workers
from django_bgtasks.store.engines import base
from django_bgtasks.store.engines.base import Want
from tests.factories import (
    held,
    living_worker,
    make_finished,
    make_job,
    make_jobs,
    make_running,
)

pytestmark = pytest.mark.django_db

NOW = timezone.now()
DAY = timedelta(days=1)


def test_due_jobs_are_made_ready_and_no_others():
    due = make_job(status="SCHEDULED", run_after=NOW)
    later = make_job(status="SCHEDULED", run_after=NOW + timedelta(milliseconds=1))
    assert maintenance.promote(NOW) == 1
    due.refresh_from_db()
    later.refresh_from_db()
    assert (due.status, later.status) == ("READY", "SCHEDULED")


def test_promotion_goes_in_batches_the_longest_due_first():
    jobs = [
        make_job(status="SCHEDULED", run_after=NOW - timedelta(seconds=n))
        for n in (1, 3, 2)
    ]
    assert maintenance.promote(NOW, limit=2) == 2
    assert [Job.objects.get(pk=j.pk).status for j in jobs] == [
        "SCHEDULED",
        "READY",
        "READY",
    ]
    assert maintenance.promote(NOW, limit=2) == 1


def test_when_the_next_one_is_due():
    assert maintenance.next_due() is None
    for when in (NOW + DAY, NOW - DAY, NOW):
        make_job(status="SCHEDULED", run_after=when)
    assert maintenance.next_due() == NOW - DAY
    assert maintenance.next_due(after=NOW) == NOW + DAY


@pytest.mark.django_db(transaction=True)
def test_due_jobs_that_another_worker_promotes_are_passed_over(only):
    only("postgresql", "mysql")
    locked = make_job(status="SCHEDULED", run_after=NOW)
    make_job(status="SCHEDULED", run_after=NOW)
    with held(locked):
        assert maintenance.promote(NOW) == 1
    assert maintenance.promote(NOW) == 1


def test_pruning_by_age_and_status():
    old = {
        status: make_finished(status, NOW - 2 * DAY)
        for status in ("SUCCESSFUL", "FAILED", "CANCELLED")
    }
    young = make_finished("SUCCESSFUL", NOW)
    unfinished = [make_job(enqueued_at=NOW - 99 * DAY), make_running()]
    assert maintenance.count_prunable(NOW, DEFAULT_RETENTION) == 2
    assert maintenance.prune(NOW, DEFAULT_RETENTION) == 2
    assert set(Job.objects.all()) == {old["FAILED"], young, *unfinished}


def test_what_is_kept_for_ever_is_kept():
    make_finished("SUCCESSFUL", NOW - 9999 * DAY)
    assert maintenance.prune(NOW, {"SUCCESSFUL": None}) == 0


def test_attempts_go_with_their_job():
    worker = uuid.uuid4()
    job = make_running(worker)
    error = Error("builtins.ValueError", "ValueError", "...")
    lifecycle.finish(worker, [(job, Failed(error, None))], NOW)
    assert maintenance.prune(NOW, {"FAILED": timedelta(0)}) == 1
    assert not Job.objects.exists()
    assert not Attempt.objects.exists()


def test_jobs_that_other_tables_refer_to_are_deleted_as_those_say(monkeypatch):
    """As the project's own on_delete has it, which a raw delete would not ask."""
    monkeypatch.setattr(base, "_only_attempts_refer_to_jobs", lambda: False)
    job = make_finished("FAILED", NOW - 99 * DAY)
    worker = uuid.uuid4()
    running = make_running(worker)
    error = Error("builtins.ValueError", "ValueError", "...")
    lifecycle.finish(worker, [(running, Failed(error, None))], NOW)
    assert maintenance.prune(NOW, {"FAILED": timedelta(0)}) == 2
    assert not Job.objects.filter(pk=job.pk).exists()
    assert not Attempt.objects.exists()


def test_pruning_goes_in_batches_the_oldest_first():
    jobs = [make_finished("SUCCESSFUL", NOW - n * DAY) for n in (3, 5, 4)]
    assert maintenance.prune(NOW, {"SUCCESSFUL": DAY}, limit=2) == 2
    assert list(Job.objects.all()) == [jobs[0]]
    assert maintenance.prune(NOW, {"SUCCESSFUL": DAY}, limit=2) == 1
    assert maintenance.prune(NOW, {"SUCCESSFUL": DAY}, limit=2) == 0


def test_a_big_batch_is_no_trouble():
    make_jobs(1200, status="SUCCESSFUL", finished_at=NOW - 2 * DAY)
    assert maintenance.prune(NOW, {"SUCCESSFUL": DAY}, limit=1100) == 1100


def test_workers_come_beat_and_go():
    worker = workers.register(
        uuid.uuid4(), hostname="host", pid=1, queues=["a"], threads=2, now=NOW
    )
    assert workers.beat([worker.pk], NOW + DAY) == 1
    row = Worker.objects.get()
    assert (row.hostname, row.pid, row.queues, row.threads) == ("host", 1, ["a"], 2)
    assert (row.started_at, row.heartbeat_at) == (NOW, NOW + DAY)
    assert str(row) == "host:1"
    workers.deregister(worker.pk)
    assert workers.beat([worker.pk], NOW) == 0
    assert not Worker.objects.exists()


def test_a_silent_worker_is_given_to_one_who_asks():
    silent, alive = (living_worker(heartbeat_at=NOW - n * DAY) for n in (2, 1))
    assert workers.take_lost(NOW, 2 * DAY) == [silent]
    assert workers.take_lost(NOW, 2 * DAY) == []
    again = NOW + 2 * DAY
    assert set(workers.take_lost(again, 2 * DAY)) == {silent, alive}


def test_workers_with_jobs_but_no_row_are_lost():
    orphan, known = make_running(), living_worker()
    make_running(known.pk)
    workers.register_missing(NOW, DAY)
    workers.register_missing(NOW, DAY)
    assert [worker.pk for worker in workers.take_lost(NOW, DAY)] == [orphan.worker]


def test_pausing_twice_and_resuming_what_was_never_paused():
    queues.pause("a", NOW)
    queues.pause("a", NOW + DAY)
    queues.resume("b")
    queues.resume("a")
    make_job(queue="a")
    assert len(lifecycle.claim(uuid.uuid4(), Want("a", 1), NOW)) == 1
