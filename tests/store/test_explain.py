import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test import override_settings
from django.utils import timezone

import django_bgtasks
from django_bgtasks._framework import TaskResultDoesNotExist
from django_bgtasks.models import Attempt, Job
from django_bgtasks.outcomes import Cancelled, Error, Failed, Snoozed, Unknown
from django_bgtasks.redaction import MASK
from django_bgtasks.store import explain as module
from django_bgtasks.store import lifecycle, queues
from django_bgtasks.store.engines.base import Want
from django_bgtasks.store.explain import explain
from django_bgtasks.wording import moment
from tests.factories import (
    living_worker,
    make_finished,
    make_job,
    make_jobs,
    make_running,
)
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db

NOW = timezone.now().replace(microsecond=0)
MINUTE = timedelta(minutes=1)
ERROR = Error("builtins.ValueError", "ValueError: no", "...")


def codes(explanation):
    return [explanation.code, *(other.code for other in explanation.also)]


def worker_at(**columns):
    return living_worker(heartbeat_at=NOW, **columns)


def run_once(job, *outcomes, worker=None):
    """Claim the job and finish it, as a worker does, once for each outcome."""
    worker = worker or uuid.uuid4()
    for outcome in outcomes:
        (claimed,) = lifecycle.claim(worker, Want(job.queue, 1), NOW)
        assert claimed.pk == job.pk
        lifecycle.finish(worker, [(claimed, outcome)], NOW)
    return Job.objects.get(pk=job.pk)


# -- held back


def test_a_paused_queue_decides():
    worker_at()
    queues.pause("mail", NOW - MINUTE)
    make_job(queue="mail")
    found = explain(make_job(queue="mail"), NOW)
    assert codes(found) == ["queue_paused", "jobs_ahead"]
    assert found.facts == {"queue": "mail", "since": NOW - MINUTE}
    since = moment(NOW - MINUTE)
    assert found.text == f"Queue mail has been paused since {since}."
    queues.resume("mail")
    assert codes(explain(Job.objects.last(), NOW)) == ["jobs_ahead"]


def test_a_pause_may_have_an_end():
    worker_at()
    queues.pause("mail", NOW - MINUTE, until=NOW + MINUTE)
    found = explain(make_job(queue="mail"), NOW)
    since, end = moment(NOW - MINUTE), moment(NOW + MINUTE)
    assert found.text == f"Queue mail has been paused since {since}, until {end}."
    assert found.facts["until"] == NOW + MINUTE


@pytest.mark.parametrize("instruction", ["quiet", "drain", "stop"])
def test_workers_that_claim_nothing_more_do_not_count(instruction):
    worker_at(instruction=instruction)
    found = explain(make_job(), NOW)
    assert codes(found) == ["workers_quiet", "next"]
    assert found.text == (
        "The one worker of queue default was told to claim nothing more."
    )
    worker_at(instruction=instruction)
    assert "All 2 workers of queue default" in explain(Job.objects.last(), NOW).text
    worker_at(instruction="nap")  # which no worker of this version does
    assert codes(explain(Job.objects.last(), NOW)) == ["next"]


def test_nobody_is_there():
    found = explain(make_job(), NOW)
    assert codes(found) == ["no_worker", "next"]
    assert found.text == "No worker is alive. Start one: manage.py run_tasks."


@override_settings(BGTASKS={"HEARTBEAT_TIMEOUT": 60})
def test_a_worker_is_live_until_it_has_been_silent_for_too_long():
    worker = living_worker(heartbeat_at=NOW - timedelta(seconds=59))
    job = make_job()
    assert codes(explain(job, NOW)) == ["next"]
    worker.heartbeat_at = NOW - timedelta(seconds=60)
    worker.save()
    found = explain(job, NOW)
    assert codes(found) == ["no_worker", "next"]
    assert found.text == "No worker is alive; the last was heard of 1 min ago."


def test_nobody_works_on_its_queue():
    worker_at(queues=["mail"])
    job = make_job(queue="slow")
    found = explain(job, NOW)
    assert found.code == "no_worker"
    assert found.text == "The one worker that is alive does not work on queue slow."
    worker_at(queues=["a", "b"])
    assert explain(job, NOW).text == (
        "None of the 2 workers that are alive works on queue slow."
    )
    worker_at(queues=["b", "slow"])
    assert codes(explain(job, NOW)) == ["next"]


def test_names_of_queues_are_compared_as_the_database_does():
    worker_at(queues=["Mail"])
    found = explain(make_job(queue="mail"), NOW)
    assert (found.code == "next") is (connection.vendor == "mysql")


def test_nobody_knows_its_task():
    worker_at()
    job = run_once(make_job(task="gone.task"), Unknown())
    found = explain(job, NOW)
    # The seconds until it is offered again are no news.
    assert codes(found) == ["task_unknown"]
    assert found.facts["since"] == NOW
    assert found.facts["fails_at"] == NOW + timedelta(hours=1)
    assert "gone.task" in found.text


def test_a_delay():
    worker_at()
    job = make_job(status="SCHEDULED", run_after=NOW + 4 * MINUTE)
    found = explain(job, NOW)
    assert codes(found) == ["delayed"]
    at = moment(NOW + 4 * MINUTE)
    assert found.text == f"It is due in 4 min, at {at}."


def test_a_delay_decides_before_a_pause():
    queues.pause("default", NOW)
    job = make_job(status="SCHEDULED", run_after=NOW + MINUTE)
    assert codes(explain(job, NOW)) == ["delayed", "queue_paused", "no_worker"]


def test_backing_off_after_a_failed_attempt():
    worker_at()
    job = run_once(make_job(), Failed(ERROR, retry_in=4 * MINUTE))
    found = explain(job, NOW)
    assert codes(found) == ["backing_off"]
    assert found.text.startswith(
        "Attempt 1 of 3 did not succeed: ValueError: no. The next is due in 4 min,"
    )
    assert found.facts == {"due": NOW + 4 * MINUTE, "error": "ValueError: no"}


def test_a_snooze_after_a_failed_attempt_is_a_snooze():
    worker_at()
    job = run_once(make_job(), Failed(ERROR, retry_in=timedelta(0)))
    Attempt.objects.update(finished_at=NOW - MINUTE)
    Job.objects.filter(pk=job.pk).update(status="READY")
    job = run_once(job, Snoozed(MINUTE))
    found = explain(job, NOW)
    assert codes(found) == ["snoozed"]
    assert found.text.startswith("Its task asked to be run later: in 1 min, at")


def test_what_is_due_and_was_not_promoted_waits_in_line():
    worker_at()
    make_jobs(2)
    job = make_job(status="SCHEDULED", run_after=NOW)
    assert codes(explain(job, NOW)) == ["jobs_ahead"]


def test_expired():
    worker_at()
    job = make_job(expires_at=NOW)
    found = explain(job, NOW)
    assert codes(found) == ["expired", "next"]
    assert explain(job, NOW - MINUTE).code == "next"


def test_jobs_ahead_are_those_that_are_claimed_before():
    worker = worker_at(threads=3)
    make_running(worker.pk)
    make_jobs(2)
    job = make_job()
    make_jobs(2, priority=1)
    make_job(priority=-1)  # behind
    make_job()  # behind
    make_job(queue="mail", priority=9)
    make_job(priority=9, status="SCHEDULED", run_after=NOW + MINUTE)
    found = explain(job, NOW)
    assert found.code == "jobs_ahead"
    assert found.facts == {"queue": "default", "ahead": 4, "running": 1, "threads": 3}
    assert found.text == (
        "4 jobs of queue default stand before it. "
        "Jobs that its workers have: 1, on 3 threads."
    )
    claimed = [j.pk for j in lifecycle.claim(uuid.uuid4(), Want("default", 5), NOW)]
    assert claimed.index(job.pk) == 4


@pytest.mark.parametrize("priority", [0, 5])
def test_many_jobs_ahead_are_not_counted_to_the_end(monkeypatch, priority):
    monkeypatch.setattr(module, "AHEAD_LIMIT", 2)
    worker_at()
    make_jobs(1, priority=5)
    make_jobs(5, priority=priority)
    found = explain(make_job(), NOW)
    assert found.facts["ahead"] == 3
    assert found.text.startswith("more than 2 jobs of queue default stand before it.")


def test_it_takes_few_queries(django_assert_num_queries):
    for _ in range(5):
        worker_at()
    make_jobs(3)
    job = make_job()
    # Its queue, the workers, jobs that are more urgent, that are older, that run.
    with django_assert_num_queries(5):
        explain(job, NOW)


# -- at work


def test_running():
    worker = worker_at(hostname="box", pid=7)
    job = make_running(worker.pk)
    found = explain(job, NOW + timedelta(seconds=3))
    assert codes(found) == ["running"]
    assert found.text == (
        f"Worker box:7 has it since {moment(job.started_at)}; "
        "its last heartbeat was 3.0 s ago."
    )
    assert found.facts["lost_at"] == NOW + timedelta(seconds=45)


def test_running_on_a_worker_that_is_lost():
    worker = worker_at()
    job = make_running(worker.pk, cancel_requested_at=NOW, cancel_requested_by="ada")
    found = explain(job, NOW + MINUTE)
    assert codes(found) == ["worker_lost", "cancel_requested"]
    assert "box:7, has been silent for 1 min" in found.text
    worker.delete()
    assert explain(job, NOW).text.startswith("Its worker is gone.")


def test_asked_to_stop():
    worker = worker_at()
    job = make_running(worker.pk, cancel_requested_at=NOW, cancel_requested_by="ada")
    found = explain(job, NOW)
    assert codes(found) == ["cancel_requested", "running"]
    assert found.text == f"It was asked to stop at {moment(NOW)} by ada."


# -- at its end


def test_finished():
    made = make_finished("SUCCESSFUL", NOW)
    assert explain(made, NOW).text == f"It succeeded at {moment(NOW)}."
    job = run_once(make_job(), Failed(ERROR, None))
    assert codes(explain(job, NOW)) == ["failed"]
    assert explain(job, NOW).text == (
        f"It failed at {moment(NOW)}, in attempt 1 of 3: ValueError: no."
    )


def test_cancelled_by_somebody():
    job = make_job()
    lifecycle.cancel(Job.objects.all(), by="ada", now=NOW)
    job.refresh_from_db()
    assert explain(job, NOW).text == f"It was cancelled at {moment(NOW)} by ada."


def test_cancelled_by_its_own_expiry():
    expiry = NOW - timedelta(hours=1)
    job = make_finished("CANCELLED", NOW, cancel_requested_at=expiry, expires_at=expiry)
    found = explain(job, NOW)
    assert found.text == (
        f"It was cancelled at {moment(NOW)}: no worker had begun it before it expired."
    )
    assert found.facts["expired"]


def test_cancelled_by_its_task():
    job = run_once(make_job(), Cancelled(Error("Cancel", "Cancel: all done.", "...")))
    found = explain(job, NOW)
    assert codes(found) == ["cancelled"]
    assert found.text == f"Its task cancelled it at {moment(NOW)}: Cancel: all done."


# -- what must not be seen


def test_sensitive_arguments_are_not_in_it():
    """Not even where the error was stored before the argument was declared so."""
    worker_at()
    error = Error("builtins.ValueError", "ValueError: opensesame", "...")
    job = make_job(
        task="tests.sample.tasks.pay", args=["ada", "opensesame"], kwargs={"how": "x"}
    )
    job = run_once(job, Failed(error, retry_in=MINUTE))
    found = explain(job, NOW)
    assert MASK in found.text
    assert "opensesame" not in repr(found)


# -- from anywhere


def test_it_takes_results_and_ids():
    result = sample.add(1)
    for job in (result, result.id, uuid.UUID(result.id)):
        assert codes(django_bgtasks.explain(job)) == ["no_worker", "next"]


def test_a_job_is_looked_at_as_it_is_now():
    job = make_job()
    Job.objects.all().cancel()
    found = django_bgtasks.explain(job)
    assert found.code == "cancelled"


def test_no_such_job():
    for job in (uuid.uuid4(), "nonsense"):
        with pytest.raises(TaskResultDoesNotExist, match=str(job)):
            django_bgtasks.explain(job)


def test_all_of_it_as_text():
    job = make_job(status="SCHEDULED", run_after=NOW + MINUTE)
    text = str(explain(job, NOW))
    assert "It is due in" in text
    assert "No worker is alive." in text
