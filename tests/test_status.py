import uuid
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.utils import timezone, translation

from django_bgtasks import status, timing
from django_bgtasks._framework import TaskResultDoesNotExist
from django_bgtasks.status import ajob_status, job_status
from tests.admin.pages import job_that_is
from tests.sample.tasks import add

pytestmark = pytest.mark.django_db

NOW = timezone.now().replace(microsecond=0)


def progress(done, total, message=""):
    return {"done": done, "total": total, "message": message}


def running(**columns):
    started = NOW - timedelta(seconds=60)
    return job_that_is("RUNNING", started_at=started, **columns)


def test_a_job_that_runs():
    job = running(progress=progress(1, 4, "the first"))
    with timing.stopped_at(NOW):
        assert job_status(job) == {
            "id": str(job.pk),
            "status": "RUNNING",
            "status_label": "Running",
            "finished": False,
            "attempt": 1,
            "max_attempts": 3,
            "attempt_label": "",
            "progress": progress(1, 4, "the first"),
            "percent": 25,
            "seconds_left": 180,
            "time_left": "about 3 min left",
        }


@pytest.mark.parametrize(
    ("state", "reported", "percent"),
    [
        ("READY", None, None),
        ("RUNNING", None, None),
        ("RUNNING", progress(7, None), None),
        ("RUNNING", progress(999, 1000), 99),
        ("RUNNING", progress(12, 10), 100),
        ("RUNNING", progress(-1, 10), 0),
        ("FAILED", progress(3, 10), 30),
        ("FAILED", None, None),
        ("SUCCESSFUL", None, 100),
        ("SUCCESSFUL", progress(3, 10), 100),
    ],
)
def test_the_share_that_is_done(state, reported, percent):
    job = job_that_is(state, progress=reported)
    assert job_status(job)["percent"] == percent


@pytest.mark.parametrize(
    ("state", "attempt", "label"),
    [
        ("SCHEDULED", 0, ""),
        ("SCHEDULED", 1, "attempt 1 of 3"),
        ("READY", 2, "attempt 2 of 3"),
        ("RUNNING", 1, ""),
        ("RUNNING", 2, "attempt 2 of 3"),
        ("SUCCESSFUL", 1, ""),
        ("FAILED", 3, "attempt 3 of 3"),
    ],
)
def test_it_is_said_that_a_job_is_tried_again(state, attempt, label):
    assert job_status(job_that_is(state, attempt=attempt))["attempt_label"] == label


@pytest.mark.parametrize("state", ["SCHEDULED", "READY", "FAILED", "CANCELLED"])
def test_only_what_runs_has_an_eta(state):
    long_ago = NOW - timedelta(seconds=60)
    job = job_that_is(state, progress=progress(1, 4), started_at=long_ago)
    shown = job_status(job)
    assert (shown["seconds_left"], shown["time_left"]) == (None, "")
    assert shown["finished"] is (state in ("FAILED", "CANCELLED"))


def test_it_takes_a_job_a_result_and_an_id(django_assert_num_queries):
    result = add(1)
    job = status.find_job(result)
    with django_assert_num_queries(0):
        expected = job_status(job)
    for given in (result, result.id, uuid.UUID(result.id)):
        with django_assert_num_queries(1):
            assert job_status(given) == expected


@pytest.mark.django_db(transaction=True)
def test_async_code_may_ask():
    result = add(1)
    assert async_to_sync(ajob_status)(result)["id"] == result.id


@pytest.mark.parametrize("key", [uuid.uuid4(), "no id"])
def test_a_job_that_is_not_there(key):
    with pytest.raises(TaskResultDoesNotExist, match=f"no job {key}"):
        job_status(key)


def test_what_is_sensitive_is_in_no_text():
    job = running(
        task="tests.sample.tasks.pay",
        args=["ann", "hunter22"],
        kwargs={"how": "message"},
        progress=progress(1, 2, "charging hunter22"),
        verbose_name="Pay with hunter22",
    )
    assert "hunter22" not in str(job_status(job))
    assert job_status(job)["progress"]["message"] == "charging ********************"
    assert "hunter22" not in status.name_of(job)
    done = job_that_is(
        "SUCCESSFUL",
        task="tests.sample.tasks.pay",
        args=["ann", "hunter22"],
        kwargs={},
        result={"paid": "hunter22"},
    )
    assert status.result_of(done) == '{"paid": "********************"}'


def test_of_a_task_that_nobody_knows_nothing_is_told():
    job = running(task="gone", args=["a secret"], progress=progress(1, 2, "a secret"))
    assert "a secret" not in str(job_status(job))


def test_neither_arguments_nor_errors_nor_results_are_told():
    job = job_that_is("SUCCESSFUL", args=["argument"], result="result")
    assert "argument" not in str(job_status(job))
    assert "result" not in str(job_status(job))


def test_it_is_in_the_readers_language():
    with translation.override("de"):
        shown = job_status(running(progress=progress(1, 4)))
    assert shown["status"] == "RUNNING"
    assert isinstance(shown["status_label"], str)


@pytest.mark.parametrize(
    ("state", "result", "text"),
    [
        ("SUCCESSFUL", None, ""),
        ("SUCCESSFUL", "a text", "a text"),
        ("SUCCESSFUL", {"rows": [1, "ü"]}, '{"rows": [1, "ü"]}'),
        ("SUCCESSFUL", "\ud800", "\\ud800"),
        ("SUCCESSFUL", "x" * 3000, "x" * 2000 + "…"),
        ("FAILED", "left over", ""),
    ],
)
def test_results_are_shown_as_text(state, result, text):
    job = job_that_is(state)
    job.result = result
    assert status.result_of(job) == text


def test_a_large_result_is_read_only_where_it_is_shown(django_assert_num_queries):
    job = status.find_job(job_that_is("SUCCESSFUL", result="x").pk)
    with django_assert_num_queries(0):
        job_status(job)
    with django_assert_num_queries(1):
        assert status.result_of(job) == "x"


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        ({"verbose_name": "Report for March"}, "Report for March"),
        ({"task": "sales.tasks.compute_report"}, "Compute report"),
        ({"task": "plain"}, "Plain"),
    ],
)
def test_a_job_has_a_name(columns, name):
    assert status.name_of(job_that_is("READY", **columns)) == name
