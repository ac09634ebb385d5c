"""What jobs are called, whom they are for, and how long they are kept."""

import uuid
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from django_bgtasks import NotJSON, enqueue_many
from django_bgtasks._framework import InvalidTask, TaskResultDoesNotExist
from django_bgtasks.models import Attempt, Job
from django_bgtasks.outcomes import Error, Failed, Recorded, Succeeded
from django_bgtasks.signals import job_ended
from django_bgtasks.store import lifecycle, maintenance
from django_bgtasks.store.engines.base import Want
from tests.factories import make_finished, make_running
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)
WORKER = uuid.uuid4()
ERROR = Error("builtins.ValueError", "ValueError: no", "Traceback ...")


def test_labels_are_on_the_row(job_of):
    user = User.objects.create_user("ada")
    task = sample.add.using(
        verbose_name="Adding up",
        creator=user,
        tags=["math", "daily", "math"],
        metadata={"order": 7, "nested": {"a": [1]}},
    )
    for result in (task.enqueue(1), *enqueue_many(task.s(n) for n in range(30))):
        job = job_of(result)
        assert job.verbose_name == "Adding up"
        assert job.creator == f"auth.user:{user.pk}"
        assert job.tags == ("math", "daily")
        assert job.metadata == {"order": 7, "nested": {"a": [1]}}


def test_jobs_without_labels_have_none(job_of):
    job = job_of(sample.add(1))
    assert (job.verbose_name, job.creator, job.tags) == ("", None, ())
    assert job.metadata is None


def test_the_call_adds_to_what_the_task_says(job_of):
    task = sample.add.using(tags="math", metadata={"a": 1, "b": 1}, verbose_name="x")
    job = job_of(task.using(tags=["urgent"], metadata={"b": 2}).enqueue(1))
    assert job.tags == ("math", "urgent")
    assert job.metadata == {"a": 1, "b": 2}
    assert job.verbose_name == "x"


def test_call_keywords(job_of):
    user = User.objects.create_user("ada")
    lazy = SimpleLazyObject(lambda: user)
    job = job_of(sample.add(1, verbose_name="For Ada", creator=lazy))
    assert job.verbose_name == "For Ada"
    assert job.args == [1]
    assert list(Job.objects.created_by(user)) == [job]


def test_filters():
    ada, bob = (User.objects.create_user(name) for name in ("ada", "bob"))
    group = Group.objects.create(pk=ada.pk, name="same key")
    sample.add.using(creator=ada, tags=["a", "ab"]).enqueue(1)
    sample.add.using(creator=bob, tags=["ab"]).enqueue(2)
    sample.add(3)
    assert [job.args for job in Job.objects.created_by(ada)] == [[1]]
    assert not Job.objects.created_by(group).exists()
    assert [job.args for job in Job.objects.tagged("a")] == [[1]]
    assert not Job.objects.tagged("A").exists()
    assert [job.args for job in Job.objects.tagged("ab").order_by("id")] == [[1], [2]]
    assert [job.args for job in Job.objects.tagged("ab", "a")] == [[1]]
    assert not Job.objects.tagged("b").exists()


def test_a_creator_may_have_any_kind_of_key():
    session = Session.objects.create(
        session_key="a:b|c", session_data="", expire_date=timezone.now()
    )
    worker = make_finished("SUCCESSFUL", timezone.now())
    for creator in (session, worker):
        sample.add.using(creator=creator).enqueue(1)
        assert Job.objects.created_by(creator).count() == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"creator": 5}, InvalidTask, "creator is 5; it must be a model instance"),
        ({"creator": User(username="new")}, InvalidTask, "which is not saved"),
        ({"tags": ["a|b"]}, InvalidTask, r"tag 'a\|b' cannot be used"),
        ({"tags": [""]}, InvalidTask, "tag '' cannot be used"),
        ({"tags": [5]}, InvalidTask, "tag 5 cannot be used"),
        ({"tags": [str(n) * 9 for n in range(99)]}, InvalidTask, "more than 253"),
        ({"metadata": [1]}, InvalidTask, "must be a dict"),
        (
            {"metadata": {"when": timezone.now()}},
            NotJSON,
            "metadata.when is a datetime",
        ),
        ({"metadata": {"x": "y" * 20_000}}, InvalidTask, "20,009 characters"),
        ({"verbose_name": "x" * 256}, InvalidTask, "at most 255 characters"),
        ({"store_result": 0}, InvalidTask, "must be True or False"),
        ({"retention": -1}, InvalidTask, "longer than 0"),
        ({"retention": timedelta(days=36_501)}, InvalidTask, "at most 100 years"),
        ({"retention": 1e300}, InvalidTask, "at most 100 years"),
        ({"delay": float("nan")}, InvalidTask, "delay of"),
        ({"creator": "ada"}, InvalidTask, "'ada' is no reference"),
        ({"creator": "auth.user:" + "x" * 250}, InvalidTask, "255 characters"),
    ],
)
def test_what_cannot_be_is_said_at_once(options, error, message):
    with pytest.raises(error, match=message):
        sample.add.using(**options)


# -- rows that are not kept


def test_a_row_that_is_not_to_be_kept_is_gone_on_success(drain):
    task = sample.add.using(store_result=False)
    results = [task.enqueue(n) for n in range(5)]
    kept = sample.add(9)
    drain()
    assert len(sample.calls) == 6
    assert [str(job.pk) for job in Job.objects.all()] == [kept.id]
    with pytest.raises(TaskResultDoesNotExist):
        results[0].refresh()


def test_a_failure_is_kept_all_the_same(drain, job_of):
    result = sample.fail_for_good.using(store_result=False).enqueue()
    drain()
    assert job_of(result).status == "FAILED"


def test_what_failed_first_goes_with_its_attempts(drain):
    sample.succeed_at.using(store_result=False).enqueue(2)
    drain()
    assert not Job.objects.exists()
    assert not Attempt.objects.exists()


def test_atomic_jobs_too(drain, job_of):
    sample.write_a_user_once.using(store_result=False).enqueue("ada")
    drain()
    assert User.objects.filter(username="ada").exists()
    assert not Job.objects.exists()


def test_what_fails_after_the_commit_of_an_atomic_job_is_no_failure(drain, caplog):
    ended = []

    def receiver(*, outcome, **kwargs):
        ended.append(type(outcome))

    job_ended.connect(receiver)
    try:
        sample.fail_after_commit()
        drain()
    finally:
        job_ended.disconnect(receiver)
    assert ended == [Recorded]
    assert not Job.objects.exists()
    assert "no longer this worker's" not in caplog.text


def test_a_lost_run_deletes_nothing():
    job = make_running(WORKER, store_result=False, run_token=7)
    Job.objects.update(run_token=8)
    assert finish(job, Succeeded()) == [job]
    assert Job.objects.exists()


def test_a_commit_whose_answer_was_lost_is_no_loss():
    """The worker tries again what is done already."""
    job = make_running(WORKER, store_result=False)
    assert finish(job, Succeeded()) == []
    assert finish(job, Succeeded()) == []
    assert not Job.objects.exists()


def test_the_pipeline_settles_both_kinds(drain):
    many = sample.add.using(store_result=False)
    enqueue_many([many.s(n) if n % 2 else sample.add.s(n) for n in range(200)])
    drain()
    assert Job.objects.successful().count() == Job.objects.count() == 100


# -- how long


def test_a_task_says_how_long_its_jobs_are_kept():
    now = timezone.now()
    default = {"SUCCESSFUL": DAY, "FAILED": None}
    short = timedelta(minutes=5)
    make_finished("SUCCESSFUL", now - timedelta(minutes=6), retention=short)
    make_finished("FAILED", now - timedelta(minutes=6), retention=short)
    keep = [
        make_finished("SUCCESSFUL", now - timedelta(minutes=4), retention=short),
        make_finished("SUCCESSFUL", now - 5 * DAY, retention=9 * DAY),
        make_finished("SUCCESSFUL", now - timedelta(hours=1)),
        make_finished("FAILED", now - 99 * DAY),
    ]
    make_finished("SUCCESSFUL", now - 2 * DAY)
    assert maintenance.count_prunable(now, default) == 3
    assert maintenance.prune(now, default) == 3
    assert set(Job.objects.all()) == set(keep)


def test_retention_is_on_the_row(job_of):
    job = job_of(sample.add.using(retention=60).enqueue(1))
    assert job.retention == timedelta(seconds=60)
    (claimed,) = lifecycle.claim(WORKER, Want("default", 1), timezone.now())
    finish(claimed, Failed(ERROR, None))
    assert maintenance.prune(timezone.now() + timedelta(minutes=2), {}) == 1


def finish(job, outcome):
    return lifecycle.finish(WORKER, [(job, outcome)], timezone.now())
