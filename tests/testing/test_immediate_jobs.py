"""immediate_jobs: a job runs before the call returns that enqueues it."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase, override_settings

from django_bgtasks import enqueue_many
from django_bgtasks._framework import TaskResultStatus
from django_bgtasks.models import Attempt, Job, Worker
from django_bgtasks.signals import job_enqueued
from django_bgtasks.store import queues
from django_bgtasks.testing import immediate_jobs, run_jobs
from tests.sample import plain_tasks
from tests.sample import tasks as sample

DATABASE_BACKEND = {"BACKEND": "django_bgtasks.backend.DatabaseBackend"}


class Behaviour:
    """The same in a test's transaction, and where there is none."""

    def test_the_result_is_finished(self):
        with immediate_jobs():
            result = sample.add(1, b=2)
        assert (result.status, result.return_value) == (TaskResultStatus.SUCCESSFUL, 3)
        result.refresh()
        assert result.return_value == 3
        job = Job.objects.get()
        assert (job.status, job.attempt, job.worker) == ("SUCCESSFUL", 1, None)
        assert not Worker.objects.exists()

    def test_only_within(self):
        with immediate_jobs():
            sample.add(1)
        sample.add(2)
        assert sample.calls == [(1, 0)]
        assert not job_enqueued.receivers

    def test_only_the_job_itself(self):
        sample.add(1, priority=100)
        with immediate_jobs():
            sample.add(2)
        assert sample.calls == [(2, 0)]
        assert Job.objects.ready().get().args == [1]

    def test_what_a_task_enqueues_runs_in_its_middle(self):
        with immediate_jobs():
            sample.count_down(2)
        assert sample.calls == [2, 1, 0]
        last, *_, first = Job.objects.order_by("finished_at")
        assert (first.args, last.args) == ([2], [0])

    def test_many(self):
        with immediate_jobs():
            one, two = enqueue_many([sample.count_down.s(1), sample.add.s(1)])
            assert enqueue_many([sample.add.s(n) for n in range(30)], results=False)
        assert sample.calls[:3] == [1, 0, (1, 0)]
        assert one.status == two.status == TaskResultStatus.SUCCESSFUL
        assert Job.objects.successful().count() == 33

    def test_an_error_is_raised_by_the_call(self):
        with immediate_jobs(), pytest.raises(ValueError, match="no"):
            sample.fail_for_good()
        assert Job.objects.get().status == "FAILED"

    def test_an_error_goes_up_through_the_tasks(self):
        with immediate_jobs(), pytest.raises(ValueError, match="deep"):
            sample.hand_on_to_fail("deep")
        assert Attempt.objects.count() == 2
        assert Job.objects.scheduled().count() == 2

    def test_errors_in_results(self):
        with immediate_jobs(raise_errors=False):
            failed, again = sample.fail_for_good(), sample.fail_slowly()
        assert failed.status == TaskResultStatus.FAILED
        assert again.status == TaskResultStatus.READY
        assert again.errors[0].exception_class_path == "builtins.OSError"

    def test_an_error_takes_all_of_enqueue_many_back(self):
        with immediate_jobs(), pytest.raises(ValueError, match="no"):
            enqueue_many([sample.add.s(1), sample.fail.s()])
        assert not Job.objects.exists()

    def test_within_a_transaction_of_the_caller(self):
        with immediate_jobs(), transaction.atomic():
            sample.write_a_user("ada")
            assert User.objects.exists()
            transaction.set_rollback(True)
        assert not User.objects.exists()
        assert not Job.objects.exists()

    def test_an_error_that_the_caller_survives(self):
        with immediate_jobs(raise_errors=False), transaction.atomic():
            sample.fail_in_the_database()
            User.objects.create(username="ada")
        assert User.objects.exists()

    def test_what_is_delayed_is_left(self):
        with immediate_jobs():
            sample.add(1, schedule=60)
        assert sample.calls == []
        run_jobs(now=timedelta(minutes=1))
        assert sample.calls == [(1, 0)]

    def test_another_attempt_is_left(self):
        with immediate_jobs(raise_errors=False):
            sample.succeed_at(2)
        assert sample.calls == [1]
        run_jobs()
        assert sample.calls == [1, 2]

    def test_paused_queues_rest(self):
        queues.pause("default")
        with immediate_jobs():
            sample.add(1)
        assert Job.objects.get().status == "READY"

    def test_atomic_tasks(self):
        with immediate_jobs():
            sample.write_a_user_once("ada")
        assert Job.objects.get().result == "ada"

    def test_async_tasks_that_enqueue(self):
        with immediate_jobs():
            sample.awrite_a_user("")
        assert sample.calls == [("", "")]

    async def test_async_tests(self):
        with immediate_jobs():
            result = await sample.awrite_a_user.aenqueue("")
        assert result.status == TaskResultStatus.SUCCESSFUL
        assert sample.calls == [("", "")]

    @override_settings(TASKS={"default": DATABASE_BACKEND})
    def test_djangos_own_tasks(self):
        with immediate_jobs():
            assert plain_tasks.plain.enqueue(2).return_value == 4

    def test_one_within_another_runs_each_once(self):
        with immediate_jobs(), immediate_jobs(raise_errors=False):
            sample.fail_for_good()
        assert sample.calls == []
        assert Attempt.objects.count() == 1

    @immediate_jobs()
    def test_as_a_decorator(self):
        assert sample.add(1).is_finished

    @immediate_jobs()
    async def test_as_a_decorator_of_async_tests(self):
        assert (await sample.add.aenqueue(1)).is_finished

    def test_what_run_jobs_runs_may_enqueue(self):
        sample.count_down(2)
        with immediate_jobs():
            [result] = run_jobs()
        assert result.args == [2]
        assert Job.objects.successful().count() == 3


class TestWithinATransaction(Behaviour, TestCase):
    pass


class TestWithoutATransaction(Behaviour, TransactionTestCase):
    def test_nothing_is_left_open(self):
        with immediate_jobs():
            sample.add(1)
        assert not connection.in_atomic_block


@immediate_jobs()
class TestClass(TestCase):
    def test_it(self):
        assert sample.add(1).is_finished
