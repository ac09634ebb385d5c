"""capture_jobs: what was enqueued, and how to assert it."""

from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.test import TestCase

from django_bgtasks import enqueue_many
from django_bgtasks.models import Job
from django_bgtasks.signals import job_enqueued
from django_bgtasks.testing import capture_jobs, immediate_jobs, run_jobs
from tests.sample import plain_tasks
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db


def test_it_collects_what_is_enqueued_meanwhile():
    sample.add(0)
    with capture_jobs() as jobs:
        assert not jobs
        sample.add(1, b=2)
        sample.send_mail("a", queue="slow", priority=3, schedule=60)
    sample.add(3)
    first, second = jobs
    assert (first.task, first.args, first.kwargs) == (sample.add.path, [1], {"b": 2})
    assert (second.queue, second.priority, second.status) == ("slow", 3, "SCHEDULED")
    assert Job.objects.filter(pk__in=[first.pk, second.pk]).count() == 2


def enqueue_by_a_task():
    sample.count_down(1)
    run_jobs()


@pytest.mark.parametrize(
    ("enqueue", "count"),
    [
        (lambda: sample.add(1), 1),
        (lambda: sample.add.enqueue(1), 1),
        (lambda: async_to_sync(sample.add.aenqueue)(1), 1),
        (lambda: enqueue_many([sample.add.s(1), sample.fail.s()]), 2),
        (lambda: enqueue_many([sample.add.s(1)] * 30, results=False), 30),
        (enqueue_by_a_task, 2),
    ],
    ids=["call", "enqueue", "aenqueue", "enqueue_many", "COPY", "task"],
)
def test_however_it_is_enqueued(enqueue, count):
    with capture_jobs() as jobs:
        enqueue()
    assert {job.pk for job in jobs} == set(Job.objects.values_list("pk", flat=True))
    assert len(jobs) == count


def test_djangos_own_tasks(settings):
    settings.TASKS = {"default": {"BACKEND": "django_bgtasks.backend.DatabaseBackend"}}
    with capture_jobs() as jobs:
        plain_tasks.plain.enqueue(1)
    jobs.assert_enqueued(plain_tasks.plain, args=[1], queue="default")


def test_jobs_of_the_scheduler(settings):
    settings.BGTASKS = {
        "PERIODIC": {
            "django_bgtasks.prune": None,
            "django_bgtasks.roll_up": None,
            "nightly": {"task": sample.add.path, "args": [1], "cron": "0 3 * * *"},
        }
    }
    with capture_jobs() as jobs:
        run_jobs(now=timedelta(days=1), schedules=True)
    jobs.assert_enqueued(sample.add.s(1), schedule="nightly")


def test_nobody_listens_any_more_afterwards():
    with pytest.raises(ValueError, match="no"), capture_jobs(), capture_jobs():
        raise ValueError("no")
    assert not job_enqueued.receivers


def test_one_within_another():
    with capture_jobs() as outer:
        sample.add(1)
        with capture_jobs() as inner:
            sample.add(2)
        sample.add(3)
    assert [job.args for job in outer] == [[1], [2], [3]]
    assert [job.args for job in inner] == [[2]]


@pytest.fixture
def jobs():
    with capture_jobs() as jobs:
        sample.add(1, b=2)
        sample.add(1, 3)
        sample.report(4)
        sample.send_mail("a", queue="slow", priority=3, schedule=60)
    return jobs


@pytest.mark.parametrize(
    ("wanted", "columns", "count"),
    [
        (sample.add, {}, 2),
        (sample.add.s(1, 2), {}, 1),
        (sample.add.s(a=1, b=2), {}, 1),
        (sample.add.s(1), {}, 0),
        (sample.fail, {}, 0),
        (sample.report.s(steps=4), {}, 1),
        (sample.send_mail.s("a"), {}, 1),
        (sample.send_mail.s("a", subject="Hello"), {"queue": "slow"}, 1),
        (sample.send_mail, {"queue": "slow", "priority": 3}, 1),
        (sample.send_mail, {"queue": "slow", "priority": 4}, 0),
        (sample.send_mail, {"status": "SCHEDULED"}, 1),
    ],
)
def test_what_is_asked_for(jobs, wanted, columns, count):
    assert len(jobs.of(wanted, **columns)) == count
    assert len(jobs.assert_enqueued(wanted, times=count, **columns)) == count
    if count:
        assert jobs.assert_enqueued(wanted, **columns)
        with pytest.raises(AssertionError):
            jobs.assert_not_enqueued(wanted, **columns)
    else:
        jobs.assert_not_enqueued(wanted, **columns)
        with pytest.raises(AssertionError):
            jobs.assert_enqueued(wanted, **columns)


def test_arguments_are_compared_as_the_row_has_them():
    with capture_jobs() as jobs:
        sample.add((1, 2))
    jobs.assert_enqueued(sample.add.s((1, 2)))
    jobs.assert_enqueued(sample.add.s([1, 2]))


def test_the_error_tells_what_was_enqueued_instead(jobs):
    with pytest.raises(AssertionError) as caught:
        jobs.assert_enqueued(sample.add.s(1, b=4), queue="mail", times=2)
    told = str(caught.value).splitlines()
    assert told[:3] == [
        "Expected 2 times: tests.sample.tasks.add(1, b=4), queue='mail'; found 0.",
        "Enqueued: ",
        "  tests.sample.tasks.add(1, b=2), queue='default'",
    ]
    assert told[-1].startswith(
        "  tests.sample.tasks.send_mail('a'), queue='slow', priority=3, run_after=20"
    )


def test_nothing_was_enqueued(jobs):
    with pytest.raises(AssertionError, match=r"Expected no job.\nEnqueued: \n  tests"):
        jobs.assert_nothing_enqueued()
    with capture_jobs() as jobs:
        pass
    jobs.assert_nothing_enqueued()
    with pytest.raises(AssertionError, match=r"add\(...\); found 0.\nEnqueued: noth"):
        jobs.assert_enqueued(sample.add)


def test_a_column_that_is_none(jobs):
    with pytest.raises(TypeError, match="no column 'queue_name'. Did you mean 'queue'"):
        jobs.assert_enqueued(sample.add, queue_name="default")


@pytest.mark.parametrize("capture_first", [True, False])
def test_jobs_that_run_at_once_are_captured_before(capture_first):
    with capture_jobs() if capture_first else immediate_jobs() as one:  # noqa: SIM117 (their order is the point)
        with immediate_jobs() if capture_first else capture_jobs() as other:
            sample.count_down(2)
            with pytest.raises(ValueError, match="no"):
                sample.fail()
    jobs = one if capture_first else other
    assert [job.args for job in jobs] == [[2], [1], [0], []]


@capture_jobs(kwarg_name="jobs")
def test_as_a_decorator(**given):
    sample.add(1)
    given["jobs"].assert_enqueued(sample.add.s(1), times=1)


@capture_jobs(attr_name="jobs")
class TestClass(TestCase):
    def test_one(self):
        sample.add(1)
        self.jobs.assert_enqueued(sample.add, times=1)

    def test_two(self):
        self.jobs.assert_nothing_enqueued()

    @capture_jobs(kwarg_name="inner")
    async def test_async(self, inner):
        await sample.add.aenqueue(1)
        inner.assert_enqueued(sample.add, times=1)
        self.jobs.assert_enqueued(sample.add, times=1)
