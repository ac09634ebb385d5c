"""What a task is told of its job, and can have noted on it."""

import logging
from datetime import timedelta

import pytest
from django.utils import timezone

from django_bgtasks import NotJSON
from django_bgtasks._framework import InvalidTask
from django_bgtasks.models import Job
from django_bgtasks.models.job import new_id
from django_bgtasks.worker.job_run import JobRun
from tests.factories import make_running
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_job_knows_itself(drain, caplog):
    caplog.set_level(logging.INFO, "tests.sample.tasks")
    result = sample.look_around.using(metadata={"order": 7}).enqueue(1)
    Job.objects.update(scheduled_for=timezone.now())
    before = timezone.now()
    drain()
    (seen,) = sample.calls
    assert seen["job_id"] == result.id
    assert (seen["attempt"], seen["max_attempts"]) == (1, 7)
    assert before < seen["deadline"] - timedelta(seconds=60) < timezone.now()
    assert seen["scheduled_for"] == Job.objects.get().scheduled_for
    assert seen["cancelled"] is False
    assert seen["metadata"] == {"order": 7}
    (record,) = [r for r in caplog.records if r.name == "tests.sample.tasks"]
    assert record.getMessage() == f"{result.id}: seen (1,)"
    assert (record.job_id, record.task) == (result.id, sample.look_around.path)
    assert (record.attempt, record.more) == (1, 1)


def test_inline_there_is_a_context_too(caplog):
    caplog.set_level(logging.INFO, "tests.sample.tasks")
    sample.look_around.using(metadata={"a": 1}).now()
    assert sample.calls == [
        {
            "job_id": "inline",
            "attempt": 1,
            "max_attempts": 1,
            "deadline": None,
            "scheduled_for": None,
            "cancelled": False,
            "metadata": {"a": 1},
        }
    ]
    assert caplog.messages == ["inline: seen ()"]


@pytest.mark.parametrize("task", [sample.take_notes, sample.atake_notes])
def test_notes_are_added(drain, task):
    task.using(metadata={"a": 1, "b": 1}).enqueue(b=2, c=[3])
    drain()
    noted = {"a": 1, "b": 2, "c": [3]}
    assert Job.objects.get().metadata == noted
    assert sample.calls == [noted]


def test_async_tasks_read_their_notes(drain, job_of):
    """Without a query, which would not be allowed on the event loop."""
    result = sample.aread_notes.using(metadata={"a": [1]}).enqueue()
    drain()
    assert sample.calls == [({"a": [1]}, {"a": [1]})]
    assert job_of(result).status == "SUCCESSFUL"


def test_notes_inline():
    sample.take_notes.using(metadata={"a": 1}).now(b=2)
    assert sample.calls == [{"a": 1, "b": 2}]


def test_a_lost_run_notes_nothing():
    job = make_running(run_token=7, metadata={"a": 1})
    Job.objects.update(run_token=8)
    JobRun(job).note({"a": 2})
    assert Job.objects.get().metadata == {"a": 1}


@pytest.mark.parametrize(
    ("notes", "error"),
    [({"x": object()}, NotJSON), ({"x": "y" * 20_000}, InvalidTask)],
)
def test_notes_that_cannot_be_kept(notes, error):
    with pytest.raises(error, match="metadata"):
        sample.take_notes.now(**notes)


def test_follow_ups_know_their_parent(drain):
    result = sample.follow_up(2)
    sample.add(9)
    drain()
    children = Job.objects.children_of(Job.objects.get(pk=result.id))
    assert sorted(job.args[0] for job in children) == [0, 0, 1, 1]
    assert Job.objects.children_of(result.id).successful().count() == 4
    assert not Job.objects.children_of(new_id()).exists()


def test_follow_ups_of_async_tasks(drain):
    result = sample.afollow_up()
    drain()
    assert [job.args for job in Job.objects.children_of(result.id)] == [[1]]


def test_inline_follow_ups_have_no_parent():
    sample.follow_up.now(1)
    assert list(Job.objects.values_list("parent", flat=True)) == [None, None]
