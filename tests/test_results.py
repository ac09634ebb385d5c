"""Waiting for a job's end, and what else a result can say and do."""

import threading
import uuid
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.utils import timezone

from django_bgtasks import JobCancelled, JobFailed
from django_bgtasks._framework import TaskResultDoesNotExist
from django_bgtasks.backend import build_result
from django_bgtasks.exceptions import WaitInTransaction
from django_bgtasks.models import Job
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.engines.base import Want
from tests.factories import make_finished, make_job
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db(transaction=True)

WAYS = pytest.mark.parametrize("get", ["get", "aget"], indirect=True)

#: Longer than any test may take: where somebody waits so long, something is broken.
LONG = 30


@pytest.fixture
def get(request):
    """``get`` itself, and ``aget`` as sync code would call it."""
    if request.param == "get":
        return lambda result, **options: result.get(**options)
    return lambda result, **options: async_to_sync(result.aget)(**options)


def end(status, **columns):
    Job.objects.update(status=status, finished_at=timezone.now(), attempt=1, **columns)


@WAYS
def test_the_value_of_a_job_that_somebody_runs(get, at_work):
    at_work()
    result = sample.add(1, b=2)
    assert get(result, timeout=LONG) == 3
    assert (result.status, result.job_status) == ("SUCCESSFUL", "SUCCESSFUL")
    assert result.attempts == 1


@WAYS
def test_the_value_of_a_job_that_takes_its_time(get, at_work):
    at_work()
    result = sample.wait_at_gate("it")
    opener = threading.Timer(0.1, sample.gate.set)  # longer than quick looks
    opener.start()
    assert get(result, timeout=timedelta(seconds=LONG)) == "it"


@WAYS
def test_a_value_that_is_known_is_not_asked_for(get, drain, django_assert_num_queries):
    result = sample.add(1)
    drain()
    assert get(result) == 1
    with django_assert_num_queries(0):
        assert get(result) == 1


@WAYS
def test_a_failure_is_raised_with_all_errors(get, at_work):
    at_work()
    result = sample.succeed_at.using(max_attempts=2)(5)
    with pytest.raises(JobFailed) as caught:
        get(result, timeout=LONG)
    assert caught.value.result is result
    assert str(caught.value) == (
        f"The job {result.id} of tests.sample.tasks.succeed_at FAILED after 2 attempts. "
        "Its last error: ValueError: attempt 2"
    )
    assert [error.summary for error in result.errors] == [
        "ValueError: attempt 1",
        "ValueError: attempt 2",
    ]
    assert result.errors[0].exception_class is ValueError
    assert "in succeed_at" in result.errors[0].traceback


def test_one_attempt_is_said_so(drain):
    result = sample.fail.using(max_attempts=1)("no")
    drain()
    with pytest.raises(JobFailed, match="after 1 attempt\\. Its last error: ValueErr"):
        result.get()


@WAYS
def test_a_job_that_somebody_cancelled(get):
    result = sample.add(1)
    result.cancel(by="ada")
    with pytest.raises(JobCancelled) as caught:
        get(result)
    assert str(caught.value) == (
        f"The job {result.id} of tests.sample.tasks.add was CANCELLED by ada."
    )
    assert (caught.value.result, result.cancelled_by) == (result, "ada")


def test_a_job_that_cancelled_itself(drain):
    result = sample.cancel_itself()
    drain()
    with pytest.raises(JobCancelled, match="CANCELLED. Its last .*nothing to do"):
        result.get()


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("SCHEDULED", "it is SCHEDULED, for its time"),
        (
            "READY",
            "no worker has taken it. Does one run that works on the queue 'mail'",
        ),
        ("RUNNING", "it is RUNNING"),
    ],
)
@WAYS
def test_running_out_of_time(get, status, text):
    result = sample.send_mail("a@example.org")
    Job.objects.update(status=status)
    with pytest.raises(TimeoutError, match=f"send_mail .*within 0.005 s: .*{text}"):
        get(result, timeout=timedelta(milliseconds=5))
    assert result.job_status == status


@pytest.mark.parametrize("timeout", [0, -1])
def test_no_time_is_one_look(timeout):
    result = sample.add(1)
    with pytest.raises(TimeoutError), transaction.atomic():
        result.get(timeout=timeout)
    end("SUCCESSFUL", result=7)
    assert result.get(timeout=timeout) == 7


@WAYS
def test_a_job_that_is_no_more(get):
    result = sample.add(1)
    Job.objects.all().delete()
    with pytest.raises(TaskResultDoesNotExist, match="add is no more.*RETENTION"):
        get(result)
    with pytest.raises(TaskResultDoesNotExist, match="no job .*RETENTION"):
        result.refresh()


@WAYS
def test_a_job_that_was_not_to_be_kept_has_vanished_with_its_success(get, at_work):
    at_work()
    result = sample.wait_at_gate.using(store_result=False)("it")
    opener = threading.Timer(0.1, sample.gate.set)  # longer than quick looks
    opener.start()
    assert get(result, timeout=LONG) is None
    assert (result.status, result.job_status) == ("SUCCESSFUL", "SUCCESSFUL")
    assert get(result) is None
    assert not Job.objects.exists()


@WAYS
def test_of_one_that_was_never_seen_nobody_knows_whether_it_ran(get):
    with transaction.atomic():
        result = sample.add.using(store_result=False)(1)
        transaction.set_rollback(True)
    with pytest.raises(TaskResultDoesNotExist, match="is not there.*rolled back"):
        get(result)


def test_a_failure_that_was_not_kept_is_no_success():
    result = sample.add(1)
    end("FAILED", store_result=False)
    result.refresh()
    Job.objects.all().delete()
    with pytest.raises(TaskResultDoesNotExist):
        result.get()


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED"])
def test_a_result_can_be_retried(status, drain):
    result = sample.add(1)
    end(status)
    result.refresh()
    assert result.retry() is True
    assert result.job_status == status, "it is a snapshot"
    with pytest.raises(TimeoutError, match="it is READY"):
        result.get(timeout=0)
    drain()
    assert result.get() == 1
    assert async_to_sync(result.aretry)() is False


def test_only_that_job_is_retried():
    make_finished("FAILED", timezone.now())
    result = sample.add(1)
    assert result.retry() is False
    assert Job.objects.failed().count() == 1


@pytest.mark.parametrize("way", ["refresh", "arefresh"])
def test_refresh_sees_what_is_ours(way):
    result = sample.add(1)
    object.__setattr__(result, "was_deduplicated", True)
    assert (result.job_status, result.progress, result.metadata) == ("READY", None, {})
    progress = {"done": 1, "total": 2, "message": "half"}
    Job.objects.update(
        status="CANCELLED",
        progress=progress,
        metadata={"order": 7},
        cancel_requested_by="ada",
        store_result=False,
    )
    if way == "refresh":
        result.refresh()
    else:
        async_to_sync(result.arefresh)()
    assert result.job_status == "CANCELLED"
    assert (result.progress, result.metadata) == (progress, {"order": 7})
    assert (result.cancelled_by, result.stores_result) == ("ada", False)
    assert result.was_deduplicated, "no row knows that"
    assert sample.add.get_result(result.id).progress == progress


def test_a_claimed_job_is_asked_for_no_column_more(django_assert_num_queries):
    make_job()
    (job,) = get_engine().claim(Want("default", 1), uuid.uuid4(), timezone.now())
    with django_assert_num_queries(0):
        result = build_result(job, sample.add)
    assert (result.progress, result.metadata, result.stores_result) == (None, {}, True)


@WAYS
def test_in_a_transaction_nobody_waits_in_vain(get):
    with transaction.atomic():
        result = sample.add(1)
        with pytest.raises(WaitInTransaction, match=f"{result.id} has not ended"):
            get(result, timeout=LONG)
        end("SUCCESSFUL", result=7)
        assert get(result) == 7


@pytest.mark.django_db(transaction=False)
def test_the_transaction_of_a_test_is_none():
    result = sample.add(1)
    with pytest.raises(TimeoutError):
        result.get(timeout=0.001)
    with transaction.atomic(), pytest.raises(WaitInTransaction):
        result.get(timeout=LONG)


def test_who_commits_by_hand_is_in_a_transaction():
    result = sample.add(1)
    transaction.set_autocommit(False)
    try:
        with pytest.raises(WaitInTransaction):
            result.get(timeout=LONG)
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
