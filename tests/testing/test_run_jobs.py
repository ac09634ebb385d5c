"""run_jobs: what is due, as a worker would run it, but in a test."""

import threading
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection
from django.test import TestCase, TransactionTestCase, override_settings
from django.utils import timezone

from django_bgtasks import timing
from django_bgtasks._framework import TaskResultStatus, task_finished
from django_bgtasks.exceptions import TimeLimitExceeded, UnknownTask
from django_bgtasks.models import Attempt, Job, Schedule, Worker
from django_bgtasks.outcomes import Failed
from django_bgtasks.signals import job_ended, job_started
from django_bgtasks.store import queues
from django_bgtasks.testing import TooManyRuns, arun_jobs, run_jobs
from tests.factories import make_job, make_jobs
from tests.sample import tasks as sample


class Behaviour:
    """The same in a test's transaction, and where there is none."""

    def test_it_runs_what_is_due(self):
        added = sample.add(1, b=2)
        [result] = run_jobs()
        assert (result.id, result.return_value) == (added.id, 3)
        assert result.attempts == 1
        job = Job.objects.get()
        assert (job.status, job.result, job.worker) == ("SUCCESSFUL", 3, None)
        assert run_jobs() == []

    def test_no_worker_is_left_behind(self):
        sample.add(1)
        before = set(threading.enumerate())
        run_jobs()
        assert set(threading.enumerate()) <= before
        assert not Worker.objects.exists()

    def test_the_urgent_comes_first_then_the_old_whichever_queue(self):
        sample.add(1, queue="b")
        sample.add(2, queue="a")
        sample.add(3, queue="b", priority=5)
        sample.add(4, queue="a", priority=-5)
        results = run_jobs()
        assert [a for a, b in sample.calls] == [3, 1, 2, 4]
        assert [result.args for result in results] == [[3], [1], [2], [4]]

    def test_only_some_queues(self):
        sample.add(1, queue="a")
        sample.add(2, queue="b")
        sample.add(3, queue="c")
        run_jobs("c", "a")
        assert sample.calls == [(1, 0), (3, 0)]
        assert Job.objects.ready().get().queue == "b"

    def test_paused_queues_rest(self):
        queues.pause("a")
        sample.add(1, queue="a")
        sample.add(2, queue="b")
        run_jobs()
        assert sample.calls == [(2, 0)]
        queues.resume("a")
        run_jobs()
        assert sample.calls == [(2, 0), (1, 0)]

    def test_what_jobs_enqueue_runs_too(self):
        sample.count_down(3)
        assert len(run_jobs()) == 4
        assert sample.calls == [3, 2, 1, 0]

    def test_there_is_no_end(self):
        sample.snooze_for(0)
        with pytest.raises(TooManyRuns, match=r"has run 7 jobs.*tasks\.snooze_for"):
            run_jobs(limit=7)
        # None is left running.
        assert Job.objects.get().status == "READY"

    def test_the_limit_may_be_reached(self):
        sample.count_down(3)
        assert len(run_jobs(limit=4)) == 4

    def test_what_is_delayed_waits_for_its_time(self):
        sample.add(1, schedule=60)
        assert run_jobs() == []
        assert run_jobs(now=timedelta(seconds=59)) == []
        assert run_jobs(now=timedelta(seconds=61))
        assert sample.calls == [(1, 0)]

    def test_time_stands_still_where_it_was_moved_to(self):
        sample.count_down(1)
        moment = timezone.now() + timedelta(days=3)
        run_jobs(now=moment)
        first, second = Job.objects.order_by("pk")
        assert first.started_at == first.finished_at == moment
        assert second.enqueued_at == second.finished_at == moment
        assert abs(timing.now() - timezone.now()) < timedelta(minutes=1)

    def test_a_delay_within_is_counted_from_there(self):
        sample.snooze_for_a_minute()
        moment = timezone.now() + timedelta(days=3)
        run_jobs(now=moment)
        assert Job.objects.get().run_after == moment + timedelta(minutes=1)

    def test_more_becomes_due_than_one_promotion_takes(self):
        later = timezone.now() + timedelta(minutes=1)
        make_jobs(501, lambda n: [n], status="SCHEDULED", run_after=later)
        urgent = make_job(status="SCHEDULED", run_after=later, priority=1, args=[-1])
        with pytest.raises(TooManyRuns):
            run_jobs(now=later, limit=2)
        assert sample.calls == [(-1, 0), (0, 0)]
        assert Job.objects.get(pk=urgent.pk).status == "SUCCESSFUL"

    def test_an_error_is_recorded_and_raised_as_it_was(self):
        sample.fail_slowly()
        with pytest.raises(OSError, match="again") as caught:
            run_jobs()
        assert "fail_slowly" in [entry.name for entry in caught.traceback]
        job = Job.objects.get()
        assert (job.status, job.attempt) == ("SCHEDULED", 1)
        assert Attempt.objects.get().error == "OSError: again"

    def test_an_error_ends_the_call_and_what_waits_stays(self):
        sample.fail(queue="a")
        sample.add(1, queue="b")
        with pytest.raises(ValueError, match="no"):
            run_jobs()
        assert Job.objects.ready().get().queue == "b"

    def test_attempt_after_attempt(self):
        sample.fail_slowly()
        moment = timezone.now()
        for wait, status in [(0, "SCHEDULED"), (10, "SCHEDULED"), (20, "FAILED")]:
            moment += timedelta(seconds=wait)
            if wait:
                assert run_jobs(now=moment - timedelta(seconds=1)) == []
            with pytest.raises(OSError, match="again"):
                run_jobs(now=moment)
            assert Job.objects.get().status == status

    def test_errors_in_results(self):
        sample.fail("first")
        sample.add(1)
        failed, added = run_jobs(raise_errors=False)
        assert failed.status == TaskResultStatus.READY
        assert failed.errors[0].exception_class_path == "builtins.ValueError"
        assert added.return_value == 1

    def test_one_result_for_all_attempts(self):
        sample.succeed_at(3)
        [result] = run_jobs(raise_errors=False)
        assert (result.return_value, result.attempts) == ("done", 3)
        assert sample.calls == [1, 2, 3]

    def test_what_steers_a_job_is_no_error(self):
        sample.snooze_for_a_minute()
        sample.retry_in_a_minute()
        sample.cancel_itself()
        run_jobs()
        statuses = dict(Job.objects.values_list("task", "status"))
        assert statuses == {
            sample.snooze_for_a_minute.path: "SCHEDULED",
            sample.retry_in_a_minute.path: "SCHEDULED",
            sample.cancel_itself.path: "CANCELLED",
        }

    def test_a_retry_too_many_is_one(self):
        sample.retry_in_a_minute.using(max_attempts=1)()
        with pytest.raises(sample.Retry):
            run_jobs()
        assert Job.objects.get().status == "FAILED"

    def test_a_value_that_is_no_json(self):
        sample.return_no_json()
        with pytest.raises(TypeError, match="object"):
            run_jobs()
        assert Job.objects.get().status == "FAILED"

    def test_to_exit_is_the_jobs_failure(self):
        sample.exit_the_process()
        [result] = run_jobs(raise_errors=False)
        assert result.status == TaskResultStatus.FAILED
        sample.exit_the_process()
        with pytest.raises(SystemExit):
            run_jobs()

    def test_ctrl_c_is_for_the_test_runner(self):
        sample.aexit("interrupt")
        with pytest.raises(KeyboardInterrupt):
            run_jobs(raise_errors=False)

    def test_a_task_that_nobody_knows(self):
        make_job(task="shop.tasks.gone")
        with pytest.raises(UnknownTask, match=r"shop\.tasks\.gone"):
            run_jobs()
        assert Job.objects.get().status == "SCHEDULED"
        sample.add(1)
        [result] = run_jobs(raise_errors=False, now=timedelta(minutes=1))
        assert result.args == [1]

    def test_time_limits_do_not_interrupt(self):
        sample.send_mail("a")
        [result] = run_jobs(now=timedelta(seconds=60))
        assert result.status == TaskResultStatus.SUCCESSFUL

    def test_a_time_limit_can_be_played(self):
        def take_long(**kwargs):
            raise TimeLimitExceeded

        sample.run_for_ever()
        sample.started.set = take_long
        try:
            [result] = run_jobs(raise_errors=False)
        finally:
            del sample.started.set
        assert Attempt.objects.get().ending == "TIMED_OUT"
        assert result.status == TaskResultStatus.READY

    def test_context_and_progress(self):
        sample.report(4)
        [result] = run_jobs()
        job = Job.objects.get()
        assert sample.calls == [str(job.pk)] == [result.id]
        assert job.progress == {"done": 4, "total": 4, "message": "step 4"}

    def test_signals_are_sent_as_in_a_worker(self):
        heard = []

        def hear(signal, outcome=None, **kwargs):
            heard.append((signal, type(outcome)))

        signals = [job_started, job_ended, task_finished]
        for signal in signals:
            signal.connect(hear)
        try:
            sample.fail_for_good()
            run_jobs(raise_errors=False)
        finally:
            for signal in signals:
                signal.disconnect(hear)
        assert heard == [
            (job_started, type(None)),
            (task_finished, type(None)),
            (job_ended, Failed),
        ]

    def test_async_tasks_use_the_tests_connection(self):
        sample.awrite_a_user("ada")
        assert len(run_jobs()) == 2
        assert User.objects.get().username == "ada"
        assert sample.calls == [("ada", "ada")]

    def test_async_errors(self):
        sample.areport(2)
        run_jobs()
        sample.apay("hunter22")
        with pytest.raises(ExceptionGroup, match="not paid"):
            run_jobs()
        assert Job.objects.failed().count() == 1

    async def test_async_tests(self):
        result = await sample.aadd.aenqueue(1, 2)
        await sample.awrite_a_user.aenqueue("ada")
        results = await arun_jobs()
        assert results[0].id == result.id
        assert results[0].return_value == 3
        assert await User.objects.aget()
        assert await sync_to_async(run_jobs)() == []
        await sample.fail.aenqueue()
        with pytest.raises(ValueError, match="no"):
            await arun_jobs(now=timedelta(0))

    def test_atomic_tasks(self):
        sample.write_a_user_once("ada")
        sample.write_a_user_once.using(max_attempts=1)("bob", then="fail")
        ada, bob = run_jobs(raise_errors=False)
        assert (ada.return_value, bob.status) == ("ada", TaskResultStatus.FAILED)
        assert User.objects.get().username == "ada"

    def test_a_durable_transaction_of_a_task(self):
        sample.write_a_user_durably("ada")
        run_jobs()
        assert User.objects.get()

    def test_after_a_database_error_the_test_goes_on(self):
        # Once, for a retry may come at once: the back-off is a random one.
        sample.fail_in_the_database.using(max_attempts=1).enqueue()
        with pytest.raises(DatabaseError, match="nowhere"):
            run_jobs()
        assert Attempt.objects.count() == 1
        User.objects.create(username="ada")
        sample.write_users("bob", "ada")
        with pytest.raises(IntegrityError):
            run_jobs()
        assert Attempt.objects.count() == 2

    def test_a_success_whose_row_is_gone(self):
        def drop(job, **kwargs):
            Job.objects.filter(pk=job.pk).delete()

        job_ended.connect(drop)
        try:
            sample.add(1, 2)
            [result] = run_jobs()
        finally:
            job_ended.disconnect(drop)
        assert (result.return_value, result.is_finished) == (3, True)

    def test_what_the_test_has_activated_is_unknown_to_a_worker(self):
        seen = []

        def look(**kwargs):
            seen.append(timezone.get_current_timezone_name())

        job_started.connect(look)
        try:
            with timezone.override("Asia/Tokyo"):
                sample.add(1)
                run_jobs()
        finally:
            job_started.disconnect(look)
        assert seen == ["Europe/Berlin"]

    def test_periodic_jobs(self):
        nightly = {"task": sample.add.path, "args": [1], "cron": "0 3 * * *"}
        settings = {"PERIODIC": {**PRUNE_NOTHING, "nightly": nightly}}
        with override_settings(BGTASKS=settings):
            assert run_jobs(now=timedelta(days=1)) == []
            [result] = run_jobs(now=timedelta(days=1), schedules=True)
            assert result.args == [1]
            assert run_jobs(now=timedelta(days=1), schedules=True) == []
            assert len(run_jobs(now=timedelta(days=2), schedules=True)) == 1
        assert Schedule.objects.get(pk="nightly").last_job is not None


PRUNE_NOTHING = {"django_bgtasks.prune": None, "django_bgtasks.roll_up": None}


class TestWithinATransaction(Behaviour, TestCase):
    def test_what_is_not_committed_is_seen(self):
        assert connection.in_atomic_block
        sample.write_a_user("ada")
        run_jobs()
        assert User.objects.get().username == "ada"

    def test_what_happens_on_commit_is_the_tests_to_say(self):
        sample.add_after_commit(1)
        run_jobs()
        assert sample.calls == []
        with self.captureOnCommitCallbacks(execute=True):
            sample.add_after_commit(2)
            run_jobs()
        run_jobs()
        assert sample.calls == [(2, 0)]


class TestWithoutATransaction(Behaviour, TransactionTestCase):
    def test_it_is_committed_as_by_a_worker(self):
        sample.add_after_commit(1)
        run_jobs()
        assert sample.calls == [(1, 0)]
        assert not connection.in_atomic_block

    def test_what_was_written_before_an_error_stays(self):
        sample.write_users("ada", "ada")
        with pytest.raises(IntegrityError):
            run_jobs()
        assert User.objects.count() == 1

    def test_a_real_worker_goes_on_where_it_ended(self):
        sample.succeed_at(2)
        with pytest.raises(ValueError, match="attempt 1"):
            run_jobs()
        call_command("run_tasks", "--drain", "--processes", "0")
        assert Job.objects.get().result == "done"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("wrong", "error", "told"),
    [
        ({"now": 60}, TypeError, "now is 60; it must be a datetime, or a timedelta"),
        ({"now": "datetime"}, ValueError, "USE_TZ is"),
    ],
)
def test_times_that_cannot_be(wrong, error, told, settings):
    if wrong["now"] == "datetime":
        naive = datetime(2030, 1, 1)
        wrong = {"now": naive.replace(tzinfo=UTC) if not settings.USE_TZ else naive}
    with pytest.raises(error, match=told):
        run_jobs(**wrong)


@pytest.mark.django_db
def test_queues_are_names():
    with pytest.raises(TypeError, match=r"run_jobs\('mail', 'slow'\)"):
        run_jobs(["mail", "slow"])


@pytest.mark.django_db
def test_jobs_of_others_are_left_to_them():
    make_job(status="RUNNING", worker=uuid4(), attempt=1, run_token=1)
    assert run_jobs() == []


@pytest.mark.django_db(transaction=True)
def test_with_pytests_own_transactional_db():
    sample.awrite_a_user("ada")
    assert len(run_jobs()) == 2
