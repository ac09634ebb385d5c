"""A worker driven round by round, on a clock that the test moves."""

import logging
import uuid
from contextlib import suppress
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import (
    DataError,
    OperationalError,
    connection,
    transaction,
)
from django.test import override_settings
from django.utils import timezone

from django_bgtasks import judgement
from django_bgtasks._framework import task_finished, task_started
from django_bgtasks.models import Attempt, Job
from django_bgtasks.models import Worker as WorkerRow
from django_bgtasks.outcomes import Succeeded
from django_bgtasks.store import lifecycle, queues
from django_bgtasks.store.engines import Engine, get_engine
from django_bgtasks.store.engines.base import Want
from django_bgtasks.worker import execution
from django_bgtasks.worker import worker as worker_module
from django_bgtasks.worker.board import Board, board_size
from django_bgtasks.worker.options import WorkerOptions
from django_bgtasks.worker.worker import Worker
from tests.factories import in_thread, make_finished, make_job, make_jobs
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db(transaction=True)

LONG_AGO = timezone.now() - timedelta(days=99)


def statuses():
    return list(Job.objects.order_by("id").values_list("status", flat=True))


def test_a_job_from_call_to_result(drain):
    result = sample.add(1, b=2)
    drain()
    result.refresh()
    assert result.status == "SUCCESSFUL"
    assert result.return_value == 3
    assert result.attempts == 1
    assert result.enqueued_at <= result.started_at <= result.finished_at
    assert result.last_attempted_at == result.started_at
    assert sample.calls == [(1, 2)]


def test_async_tasks_run(drain):
    results = [sample.aadd(n, 1) for n in range(5)]
    drain()
    assert [sample.aadd.get_result(r.id).return_value for r in results] == [
        1,
        2,
        3,
        4,
        5,
    ]


def test_async_tasks_report_progress(drain):
    sample.areport(3)
    drain()
    assert Job.objects.get().progress["done"] == 3


def test_async_callers(drain):
    async def enqueue():
        result = await sample.aadd.aenqueue(1, b=2)
        return await sample.aadd.aget_result(result.id)

    async def refresh(result):
        await result.arefresh()
        return result.return_value

    result = async_to_sync(enqueue)()
    drain()
    assert async_to_sync(refresh)(result) == 3


def test_receivers_of_async_tasks_may_use_the_database(drain):
    seen = []

    def count_jobs(sender, **kwargs):
        seen.append(Job.objects.count())

    task_started.connect(count_jobs)
    task_finished.connect(count_jobs)
    try:
        sample.aadd(1)
        drain()
    finally:
        task_started.disconnect(count_jobs)
        task_finished.disconnect(count_jobs)
    assert seen == [1, 1]


def test_async_tasks_run_at_the_same_time(worker, until):
    sample.await_gate()
    until(sample.started.is_set)
    sample.await_gate()
    until(lambda: sample.calls == ["waits", "waits"])
    sample.aadd(1)
    until(lambda: Job.objects.successful().count() == 1)
    sample.gate.set()
    until(lambda: Job.objects.successful().count() == 3)


def test_the_uncommitted_is_not_seen(drain):
    with transaction.atomic():
        sample.add(1)
        if connection.vendor != "sqlite":  # where the worker would wait for us
            in_thread(drain).join()
    assert statuses() == ["READY"]
    assert sample.calls == []
    drain()
    assert statuses() == ["SUCCESSFUL"]


def test_a_failure_is_tried_again_after_its_delay(worker, until, time):
    sample.fail_slowly()
    until(lambda: statuses() == ["SCHEDULED"])
    job = Job.objects.get()
    assert timedelta(seconds=9) < job.run_after - job.started_at < timedelta(seconds=11)
    worker.tick()
    assert statuses() == ["SCHEDULED"]
    time.advance(10.5)
    until(lambda: Job.objects.get().attempt == 2 and statuses() == ["SCHEDULED"])
    time.advance(20.5)
    until(lambda: statuses() == ["FAILED"])
    attempts = Attempt.objects.all()
    assert [a.number for a in attempts] == [1, 2, 3]
    assert {a.error for a in attempts} == {"OSError: again"}
    assert "fail_slowly" in attempts[0].traceback


def test_a_failed_result_tells_every_attempt(worker, until, time):
    result = sample.fail("why")
    for _ in range(3):
        until(lambda: statuses() != ["RUNNING"] and statuses() != ["READY"])
        time.advance(3600)
    until(lambda: statuses() == ["FAILED"])
    result.refresh()
    assert result.status == "FAILED"
    assert [e.exception_class for e in result.errors] == [ValueError] * 3
    assert "ValueError: why" in result.errors[0].traceback
    assert (result.attempts, len(result.worker_ids)) == (3, 3)
    assert result.started_at < result.last_attempted_at
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value


def test_the_attempt_that_succeeds_after_failures(worker, until, time):
    result = sample.succeed_at(3)

    def done():
        time.advance(1)
        return statuses() == ["SUCCESSFUL"]

    until(done)
    result.refresh()
    assert (result.return_value, result.attempts) == ("done", 3)
    assert sample.calls == [1, 2, 3]
    assert [e.traceback.splitlines()[-1] for e in result.errors] == [
        "ValueError: attempt 1",
        "ValueError: attempt 2",
    ]


@pytest.mark.parametrize(
    ("task", "args", "status"),
    [
        (sample.fail_for_good, (), "FAILED"),
        (sample.fail_with, ("key",), "FAILED"),
        (sample.fail_with, ("index",), "SCHEDULED"),
        (sample.exit_the_process, (), "FAILED"),
        (sample.cancel_itself, (), "CANCELLED"),
        (sample.snooze_for_a_minute, (), "SCHEDULED"),
        (sample.retry_in_a_minute, (), "SCHEDULED"),
        (sample.retry_by_backoff, (), "SCHEDULED"),
        (sample.retry_though_nothing_is_worth_it, (), "SCHEDULED"),
        (sample.return_no_json, (), "FAILED"),
        (sample.fail_by_callable, (), "SCHEDULED"),
        (sample.fail_with_broken_backoff, (), "SCHEDULED"),
        (sample.fail_with_strange_text, (), "SCHEDULED"),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_how_a_task_may_end(worker, until, task, args, status):
    task(*args)
    until(lambda: Job.objects.unfinished().exclude(status="SCHEDULED").count() == 0)
    assert statuses() == [status]
    assert sample.add.now(1) == 1, "the worker and its threads go on"


def test_a_snooze_does_not_count(worker, until, time):
    sample.snooze_for_a_minute()
    for _ in range(5):
        until(lambda: statuses() == ["SCHEDULED"])
        assert Job.objects.get().attempt == 0
        time.advance(61)
        worker.tick()
    assert not Attempt.objects.exists()


def test_a_retry_asked_for_counts_and_takes_its_delay(worker, until):
    sample.retry_in_a_minute()
    until(lambda: statuses() == ["SCHEDULED"])
    job = Job.objects.get()
    assert job.attempt == 1
    assert timedelta(seconds=59) < job.run_after - job.started_at
    assert Attempt.objects.get().error == (
        "django_bgtasks.exceptions.Retry: The task asked to be retried."
    )


def test_the_callable_backoff_sees_the_attempts(worker, until, time):
    sample.fail_by_callable()
    until(lambda: statuses() == ["SCHEDULED"])
    time.advance(6)
    until(lambda: statuses() == ["FAILED"])
    assert sample.calls == [("ValueError", 1), ("ValueError", 2)]


def test_a_cancelled_job_tells_why(worker, until):
    sample.cancel_itself()
    until(lambda: statuses() == ["CANCELLED"])
    assert "nothing to do" in Attempt.objects.get().error


def test_a_value_that_is_no_json_fails_with_its_place(worker, until):
    result = sample.return_no_json()
    until(lambda: statuses() == ["FAILED"])
    result.refresh()
    assert "the return value.when is an object" in result.errors[0].traceback


@pytest.mark.parametrize("kind", ["exit", "interrupt"])
def test_async_tasks_that_want_to_end_the_process_end_alone(worker, until, kind):
    sample.await_gate()
    until(lambda: sample.calls == ["waits"])
    sample.aexit.using(max_attempts=1).enqueue(kind)
    until(lambda: Job.objects.failed().count() == 1)
    assert {"exit": "SystemExit", "interrupt": "KeyboardInterrupt"}[kind] in (
        Attempt.objects.get().error
    )
    sample.aadd(1)
    until(lambda: Job.objects.successful().count() == 1)
    sample.gate.set()
    until(lambda: Job.objects.successful().count() == 2)


@pytest.mark.parametrize(
    ("value", "told"),
    [("integer", "more than 4096 bits"), ("text", "at most 1,000,000 are kept")],
)
def test_a_value_that_no_row_should_hold_fails_its_job(worker, until, value, told):
    sample.return_too_much(value)
    until(lambda: statuses() == ["FAILED"])
    assert told in Attempt.objects.get().error


def test_a_delay_beyond_the_calendar_is_a_long_one(worker, until):
    sample.snooze_for(10**12)
    until(lambda: statuses() == ["SCHEDULED"])
    assert Job.objects.get().run_after.year < timezone.now().year + 11


def test_a_transaction_left_open_harms_no_later_job(drain, caplog):
    sample.leave_a_transaction_open("lost")
    for name in ("ada", "bob"):
        sample.write_a_user(name)
    drain(threads=1)
    assert statuses() == ["SUCCESSFUL"] * 3
    assert set(User.objects.values_list("username", flat=True)) == {"ada", "bob"}
    assert "left a transaction open" in caplog.text


def test_an_interruption_that_a_rollback_hides_is_still_one(worker, until, time):
    sample.hide_the_interruption.using(max_attempts=1).enqueue()
    until(sample.started.is_set)
    time.advance(5)
    until(lambda: statuses() == ["FAILED"])
    attempt = Attempt.objects.get()
    assert attempt.ending == "TIMED_OUT"
    assert attempt.exception_class_path.endswith(".TimeLimitExceeded")
    assert attempt.error.endswith("longer than its time limit.")
    # Who reads it wants to see both, and the task's own lines.
    assert "TimeLimitExceeded" in attempt.traceback
    assert attempt.traceback.endswith("ValueError: cannot roll back\n")
    assert "in hide_the_interruption" in attempt.traceback


def test_a_row_whose_backend_is_gone_still_runs(drain):
    make_job(task=sample.add.path, args=[1], backend="gone")
    drain()
    assert statuses() == ["SUCCESSFUL"]


def test_turns_are_taken_however_many_are_claimed_at_once(worker, until, monkeypatch):
    claims, claim = [], worker._settler.settle_and_claim

    def note(want):
        claims.append(want.queue)
        return claim(want)

    monkeypatch.setattr(worker._settler, "settle_and_claim", note)
    for n in range(12):
        sample.wait_at_gate(f"full {n}", queue="a")
    sample.wait_at_gate("small", queue="b")
    until(lambda: len(sample.calls) == 4)
    sample.gate.set()
    until(lambda: "small" in sample.calls)
    # In the claim after the first. Which thread comes to its first line first is
    # nobody's promise.
    assert claims[:2] == ["a", "b"]


@pytest.mark.parametrize("task", [sample.run_for_ever, sample.await_for_ever])
def test_a_job_past_its_time_limit_is_interrupted(worker, until, time, task):
    task.using(max_attempts=1).enqueue()
    until(sample.started.is_set)
    worker.tick()
    assert statuses() == ["RUNNING"]
    time.advance(5)
    until(lambda: statuses() == ["FAILED"])
    assert Attempt.objects.get().ending == "TIMED_OUT"
    assert sample.calls == ["unwound"]


def test_a_time_limit_is_tried_again(worker, until, time):
    sample.run_for_ever()
    until(sample.started.is_set)
    time.advance(5)
    until(lambda: statuses() == ["SCHEDULED"])
    assert Attempt.objects.get().ending == "TIMED_OUT"


@pytest.mark.parametrize("task", [sample.run_for_ever, sample.await_for_ever])
def test_a_running_job_can_be_cancelled(worker, until, time, task):
    task()
    until(sample.started.is_set)
    assert lifecycle.cancel(Job.objects.all()) == (0, 1)
    time.advance(1)
    until(lambda: statuses() == ["CANCELLED"])
    assert sample.calls == ["unwound"]


def test_progress_is_seen_while_and_after_it_runs(drain):
    sample.report(3)
    drain()
    job = Job.objects.get()
    assert job.progress == {"done": 3, "total": 3, "message": "step 3"}
    assert sample.calls == [str(job.pk)]


def test_progress_is_written_now_and_then_and_at_the_end(drain, monkeypatch):
    written = []
    original = lifecycle.write_running

    def note(job, progress):
        written.append(progress["done"])
        return original(job, progress=progress)

    monkeypatch.setattr(lifecycle, "write_running", note)
    sample.report(50_000)
    drain()
    assert written[0] == 0
    assert written[-1] == 50_000
    assert len(written) < 50


def test_user_code_has_ordinary_connections(drain):
    sample.write_a_user("ada")
    drain()
    assert User.objects.get().username == "ada"


def test_an_unknown_task_waits_and_is_then_failed(worker, until, time, caplog):
    make_job(task="old.tasks.gone", max_attempts=3)
    until(lambda: statuses() == ["SCHEDULED"])
    job = Job.objects.get()
    assert (job.attempt, job.unknown_since is not None) == (0, True)
    time.advance(16)
    until(lambda: Job.objects.get().run_token == 2 and statuses() == ["SCHEDULED"])
    time.advance(3600)
    until(lambda: statuses() == ["FAILED"])
    assert "No task is registered as 'old.tasks.gone'" in Attempt.objects.get().error
    assert "no task that this worker knows; put back" in caplog.text
    assert "BGTASKS['IMPORTS']" in caplog.text


@pytest.mark.parametrize("path", ["os.getcwd", "tests.sample.tasks.reset", "x", ""])
def test_only_registered_tasks_run(worker, until, path):
    sample.calls.append("untouched")
    make_job(task=path)
    until(lambda: statuses() == ["SCHEDULED"])
    assert sample.calls == ["untouched"]


def test_a_task_that_came_with_a_deploy_runs_what_waited(worker, until, time):
    job = make_job(task="not.yet")
    until(lambda: statuses() == ["SCHEDULED"])
    Job.objects.filter(pk=job.pk).update(task=sample.add.path, args=[1])
    time.advance(16)
    until(lambda: statuses() == ["SUCCESSFUL"])


def test_a_delayed_job_runs_at_its_time(worker, until, time):
    sample.add(1, schedule=60)
    worker.tick()
    time.advance(59)
    worker.tick()
    assert statuses() == ["SCHEDULED"]
    time.advance(2)
    until(lambda: statuses() == ["SUCCESSFUL"])


def test_only_its_queues(time, drain):
    sample.add(1, queue="a")
    sample.add(2, queue="b")
    sample.add(3, queue="c")
    drain(queues=("a", "c"))
    assert statuses() == ["SUCCESSFUL", "READY", "SUCCESSFUL"]
    drain()
    assert statuses() == ["SUCCESSFUL"] * 3


def test_a_paused_queue_rests(drain):
    sample.add(1)
    queues.pause("default")
    drain()
    assert statuses() == ["READY"]
    queues.resume("default")
    drain()
    assert statuses() == ["SUCCESSFUL"]


def test_no_queue_starves(drain):
    for n in range(20):
        sample.add(("full", n), queue="a")
    sample.add("small", queue="b")
    drain(threads=1, max_jobs=2, drain=False)
    assert len(sample.calls) == 2
    assert (["full", 0], 0) in sample.calls
    assert ("small", 0) in sample.calls


def test_the_urgent_run_first(drain):
    for priority in (0, 50, -50, 100):
        sample.add(priority, priority=priority)
    drain(threads=1)
    assert [a for a, _ in sample.calls] == [100, 50, 0, -50]


def test_no_more_at_a_time_than_threads(worker, until):
    for n in range(6):
        sample.wait_at_gate(str(n))
    until(lambda: len(sample.calls) == 4)
    worker.tick()
    assert Job.objects.running().count() == 4
    assert Job.objects.ready().count() == 2
    sample.gate.set()
    until(lambda: Job.objects.successful().count() == 6)


def test_max_jobs(drain):
    for n in range(5):
        sample.add(n)
    drain(drain=False, max_jobs=3)
    assert Job.objects.successful().count() == 3
    assert Job.objects.ready().count() == 2


def test_drain_ends_with_nothing_to_do(drain):
    drain()
    make_job(status="SCHEDULED", run_after=None)
    sample.add(1, schedule=3600)
    drain()
    assert Job.objects.scheduled().count() == 2


def test_drain_runs_what_the_jobs_enqueue_and_what_is_due(drain):
    make_finished("FAILED", None)
    job = sample.add(1, schedule=3600)
    Job.objects.filter(pk=job.id).update(run_after=LONG_AGO)
    drain()
    job.refresh()
    assert job.status == "SUCCESSFUL"


def test_the_worker_row_while_it_lives(worker, time):
    row = WorkerRow.objects.get()
    assert row.threads == 4
    time.advance(11)
    worker.tick()
    assert WorkerRow.objects.get().heartbeat_at - row.heartbeat_at > timedelta(
        seconds=5
    )


def test_the_worker_row_goes(drain):
    drain()
    assert not WorkerRow.objects.exists()


def test_stop_lets_what_runs_end(worker, until):
    sample.wait_at_gate()
    until(sample.started.is_set)
    sample.add(1)
    worker.stop()
    worker.tick()
    sample.gate.set()
    worker.shut_down()
    assert statuses() == ["SUCCESSFUL", "READY"]


@override_settings(BGTASKS={"SHUTDOWN_GRACE": 0.01})
def test_what_outlasts_the_grace_is_interrupted_and_handed_back(drain):
    sample.run_for_ever()
    worker = Worker(WorkerOptions(threads=1))
    thread = in_thread(worker.run)
    assert sample.started.wait(10)
    Job.objects.update(progress={"done": 40, "total": 100, "message": ""})
    worker.stop()
    thread.join(10)
    job = Job.objects.get()
    assert (job.status, job.attempt, job.worker) == ("READY", 0, None)
    assert job.progress is None
    assert sample.calls == ["unwound"]


@override_settings(BGTASKS={"SHUTDOWN_GRACE": 0.01})
def test_what_ignores_even_that_is_handed_back(monkeypatch):
    monkeypatch.setattr(worker_module, "UNWIND_GRACE", 0.01)
    sample.wait_at_gate()
    worker = Worker(WorkerOptions(threads=1))
    thread = in_thread(worker.run)
    assert sample.started.wait(10)
    Job.objects.update(progress={"done": 40, "total": 100, "message": ""})
    worker.stop()
    thread.join(10)
    assert not thread.is_alive()
    job = Job.objects.get()
    assert (job.status, job.attempt, job.progress) == ("READY", 0, None)


def test_a_lost_job_is_told_and_dropped(worker, until, caplog):
    sample.wait_at_gate()
    until(sample.started.is_set)
    thief = uuid.uuid4()
    Job.objects.update(worker=thief, run_token=5)
    sample.gate.set()
    until(lambda: "no longer this worker's" in caplog.text)
    job = Job.objects.get()
    assert (job.status, job.worker) == ("RUNNING", thief)


@pytest.fixture
def on_finish(monkeypatch):
    """Call something before outcomes are written, whichever way they take."""

    def call_before(function):
        for name in ("finish", "finish_and_claim"):
            original = getattr(lifecycle, name)

            def finish(row, ended, *args, original=original):
                function([outcome for _, outcome in ended])
                return original(row, ended, *args)

            monkeypatch.setattr(lifecycle, name, finish)

    return call_before


def test_an_outcome_that_cannot_be_stored_fails_its_job_alone(worker, until, on_finish):
    @on_finish
    def refuse(outcomes):
        if Succeeded("poison") in outcomes:
            raise DataError("cannot store this")

    for name in ("good", "poison", "fine"):
        sample.wait_at_gate(name)
    until(lambda: len(sample.calls) == 3)
    sample.gate.set()
    until(lambda: Job.objects.finished().count() == 3)
    assert statuses() == ["SUCCESSFUL", "FAILED", "SUCCESSFUL"]
    assert "cannot store this" in Attempt.objects.get().error


def test_a_database_in_trouble_is_survived(drain, on_finish, caplog):
    caplog.set_level(logging.INFO, logger="django_bgtasks")
    failures = iter(range(3))

    @on_finish
    def fail(outcomes):
        if next(failures, None) is not None:
            raise OperationalError("server closed the connection")

    sample.add(1)
    drain()
    assert statuses() == ["SUCCESSFUL"]
    assert sample.calls == [(1, 0)]
    assert caplog.text.count("in trouble") == 1
    assert caplog.text.count("answers again") == 1


def test_an_error_of_ours_ends_the_worker_but_leaves_nothing_behind(monkeypatch):
    original = lifecycle.claim

    def claim(worker, want, now):
        if want.queue == "b":
            assert sample.started.wait(10)
            sample.gate.set()
            raise DataError("a mistake")
        return original(worker, want, now)

    monkeypatch.setattr(lifecycle, "claim", claim)
    sample.wait_at_gate(queue="a")
    sample.add(1, queue="b")
    with pytest.raises(DataError):
        Worker(WorkerOptions(threads=2)).run()
    assert statuses() == ["SUCCESSFUL", "READY"]
    assert not WorkerRow.objects.exists()


def test_a_conflict_while_one_by_one_fails_nobody(
    worker, until, monkeypatch, on_finish
):
    """A poisonous outcome among others, and then a lock in the way of a good one."""
    conflicts = iter(range(1))

    @on_finish
    def refuse(outcomes):
        for outcome in outcomes:
            if outcome == Succeeded("poison"):
                raise DataError("cannot store this")
            if outcome == Succeeded("good") and next(conflicts, None) is not None:
                raise OperationalError("database is locked")

    monkeypatch.setattr(Engine, "is_conflict", lambda *args: "locked" in str(args[1]))
    for name in ("poison", "good"):
        sample.wait_at_gate(name)
    until(lambda: len(sample.calls) == 2)
    sample.gate.set()

    def done():
        return Job.objects.finished().count() == 2

    for _ in range(1000):
        with suppress(OperationalError):
            worker.tick()
        if done():
            break
        worker.wait(0.01)
    assert statuses() == ["FAILED", "SUCCESSFUL"]


def test_the_worker_ends_without_the_database(monkeypatch, caplog):
    worker = Worker(WorkerOptions(drain=True))

    def deregister(*args):
        raise OperationalError("gone")

    monkeypatch.setattr(worker_module.workers, "deregister", deregister)
    worker.run()
    assert "ends without the database" in caplog.text


def test_trouble_around_a_body_does_not_change_its_outcome(drain, monkeypatch):
    def broken(*args, **kwargs):
        raise BrokenPipeError("the log is gone")

    monkeypatch.setattr(task_finished, "send_robust", broken)
    sample.add(1)
    sample.fail_for_good()
    drain(threads=1)
    assert statuses() == ["SUCCESSFUL", "FAILED"]
    assert "not worth another try" in Attempt.objects.get().error


def test_trouble_before_a_body_is_tried_again(drain, monkeypatch):
    def broken(*args, **kwargs):
        raise OperationalError("no connection")

    monkeypatch.setattr(execution.Execution, "_begin", broken)
    sample.add(1)
    drain()
    assert statuses() == ["SCHEDULED"]
    assert sample.calls == []
    assert Job.objects.get().attempt == 0, "it is no attempt"


def test_djangos_signals_tell_the_run(drain):
    told = []

    def started(sender, task_result, **kwargs):
        told.append(("started", task_result.status, task_result.attempts))

    def finished(sender, task_result, **kwargs):
        told.append(("finished", task_result.status, len(task_result.errors)))

    task_started.connect(started)
    task_finished.connect(finished)
    try:
        sample.add(1)
        sample.fail_for_good()
        sample.fail()
        drain(threads=1)
    finally:
        task_started.disconnect(started)
        task_finished.disconnect(finished)
    assert told == [
        ("started", "RUNNING", 1),
        ("finished", "SUCCESSFUL", 0),
        ("started", "RUNNING", 1),
        ("finished", "FAILED", 1),
        ("started", "RUNNING", 1),
    ]


def test_a_receiver_that_raises_harms_nobody(drain):
    def broken(sender, **kwargs):
        raise RuntimeError

    task_started.connect(broken)
    task_finished.connect(broken)
    try:
        sample.add(1)
        drain()
    finally:
        task_started.disconnect(broken)
        task_finished.disconnect(broken)
    assert statuses() == ["SUCCESSFUL"]


def test_one_line_an_event_with_its_facts(drain, caplog):
    caplog.set_level(logging.INFO, logger="django_bgtasks")
    result = sample.add(1)
    drain()
    lines = [r for r in caplog.records if r.name == "django_bgtasks"]
    told = [r.getMessage().split(" ")[0] for r in lines]
    assert told == ["Worker", "tests.sample.tasks.add", "Worker"]
    line = lines[1]
    assert (line.job_id, line.task) == (result.id, sample.add.path)
    assert (line.queue, line.attempt) == ("default", 1)
    assert line.duration >= 0


def test_an_empty_queue_is_no_event(worker, caplog):
    caplog.set_level(logging.DEBUG, logger="django_bgtasks")
    caplog.clear()
    for _ in range(20):
        worker.tick()
    assert [r for r in caplog.records if r.name == "django_bgtasks"] == []


def test_short_jobs_are_claimed_ahead(worker, until):
    make_jobs(50, lambda n: [n], task=sample.add.path)
    until(lambda: Job.objects.successful().count() == 50)
    for n in range(12):
        sample.wait_at_gate(str(n))
    until(lambda: len(sample.calls) == 50 + 4)
    worker.tick()
    assert Job.objects.running().count() == 12, "not only the four that run"
    sample.gate.set()
    until(lambda: Job.objects.successful().count() == 62)


def test_what_waits_too_long_is_left_to_others(worker, until, time):
    make_jobs(50, lambda n: [n], task=sample.add.path)
    until(lambda: Job.objects.successful().count() == 50)
    for n in range(12):
        sample.wait_at_gate(str(n))
    until(lambda: Job.objects.running().count() == 12)
    assert sample.started.wait(10)
    time.advance(worker_module.LONGEST_WAIT)
    until(lambda: Job.objects.ready().count() == 8)
    rows = Job.objects.ready().values_list("attempt", "worker", "run_token")
    assert set(rows) == {(0, None, 1)}
    worker.tick()
    assert Job.objects.ready().count() == 8, "and not claimed again"
    sample.gate.set()
    until(lambda: Job.objects.successful().count() == 62)
    assert sorted(sample.calls[50:]) == sorted(map(str, range(12)))


def test_what_has_not_begun_is_handed_back_at_a_stop(worker, until):
    make_jobs(50, lambda n: [n], task=sample.add.path)
    until(lambda: Job.objects.successful().count() == 50)
    for n in range(12):
        sample.wait_at_gate(str(n))
    until(lambda: Job.objects.running().count() == 12 and len(sample.calls) == 54)
    progress = {"done": 40, "total": 100, "message": "before a snooze"}
    Job.objects.running().update(progress=progress)
    worker.stop()
    worker.tick()
    assert Job.objects.running().count() == 4
    assert set(Job.objects.ready().values_list("attempt", flat=True)) == {0}
    assert [job.progress for job in Job.objects.ready()] == [progress] * 8
    sample.gate.set()
    until(lambda: Job.objects.successful().count() == 54)


def test_no_more_than_max_jobs_are_claimed_ahead(drain):
    make_jobs(300, lambda n: [n], task=sample.add.path)
    drain(drain=False, max_jobs=120)
    assert Job.objects.successful().count() == 120
    assert set(Job.objects.ready().values_list("run_token", flat=True)) == {0}


def test_the_order_holds_at_full_speed(drain):
    rows = make_jobs(3000, lambda n: [n], task=sample.add.path)
    urgent = [row.pk for row in rows[::7]]
    Job.objects.filter(pk__in=urgent).update(priority=5)
    drain(threads=1)
    ran = [args[0] for args in sample.calls]
    first = list(range(0, 3000, 7))
    assert ran == first + [n for n in range(3000) if n % 7]


def test_a_claim_whose_answer_was_lost_is_handed_back(worker, until):
    """As the row says after the connection broke between commit and answer."""
    job = make_job(task=sample.add.path, args=[1])
    lifecycle.claim(worker._row.pk, Want("default", 1), timezone.now())
    worker._survive(OperationalError("server closed the connection"))
    until(lambda: statuses() == ["SUCCESSFUL"])
    row = Job.objects.get(pk=job.pk)
    assert (row.attempt, row.run_token) == (1, 2)


@pytest.mark.parametrize("part", ["prepare", "listener", "running_jobs"])
def test_also_if_it_cannot_connect_at_the_first_try(worker, monkeypatch, part):
    """Though queries may be answered again a moment later."""
    make_job(task=sample.add.path, args=[1])
    lifecycle.claim(worker._row.pk, Want("default", 1), timezone.now())
    owner = lifecycle if part == "running_jobs" else type(get_engine())
    failures, works = [], getattr(owner, part)

    def fail_once(*args):
        if failures:
            return works(*args)
        failures.append(args)
        raise OperationalError("not yet")

    monkeypatch.setattr(owner, part, fail_once)
    worker._survive(OperationalError("server closed the connection"))
    worker._loop(until=lambda: statuses() == ["SUCCESSFUL"])
    assert failures


def test_who_starts_in_trouble_connects_once(monkeypatch, time):
    calls, prepare = [], get_engine().prepare

    def fail_once(engine):
        calls.append("prepare")
        if len(calls) == 1:
            raise OperationalError("not yet")
        prepare()

    monkeypatch.setattr(type(get_engine()), "prepare", fail_once)
    worker = Worker(
        WorkerOptions(threads=1, drain=True), board=Board(bytearray(board_size(1)))
    )
    monkeypatch.setattr(worker._trouble, "_wait", time.advance)
    worker.run()
    assert calls == ["prepare"] * 2


@pytest.mark.parametrize("there_is_more", [False, True])
def test_an_outcome_whose_answer_was_lost_is_not_lost(
    worker, until, monkeypatch, caplog, there_is_more
):
    lost = []
    for name in ("finish", "finish_and_claim"):
        as_it_is = getattr(lifecycle, name)

        def finish(*args, original=as_it_is):
            answer = original(*args)
            if lost:
                return answer
            lost.append(answer)
            raise OperationalError("server closed the connection")

        monkeypatch.setattr(lifecycle, name, finish)
    sample.wait_at_gate()
    until(sample.started.is_set)
    sample.gate.set()
    while not worker._ended:
        worker.wait(0.01)
    if there_is_more:
        # Known to be there, it is claimed with the statement that writes the outcome.
        sample.add(1)
        worker._lanes.add(["default"])
    with pytest.raises(OperationalError) as error:
        worker.tick()
    worker._survive(error.value)
    until(lambda: set(statuses()) == {"SUCCESSFUL"})
    assert lost
    assert "no longer this worker's" not in caplog.text


@pytest.fixture
def _one_look_a_minute(settings):
    settings.BGTASKS = {"POLL_INTERVAL": 60}


@pytest.mark.usefixtures("_one_look_a_minute")
def test_a_job_due_before_the_next_look_starts_in_time(worker, until, time):
    worker.tick()
    sample.add(1, schedule=30)

    def knows():
        time.advance(worker_module.PROMOTION_DELAY)
        return 1 < worker._chores.rest < 45

    until(knows)
    time.advance(worker._chores.rest)
    until(lambda: statuses() == ["SUCCESSFUL"])


def test_all_due_jobs_are_promoted_at_once(drain):
    make_jobs(1200, lambda n: [n], task=sample.add.path, status="SCHEDULED")
    Job.objects.update(run_after=LONG_AGO)
    drain()
    assert Job.objects.successful().count() == 1200


def test_django_is_spared_signals_that_nobody_hears(drain, monkeypatch, caplog):
    built, result_of = [], judgement.build_result
    monkeypatch.setattr(
        judgement, "build_result", lambda *args: built.append(args) or result_of(*args)
    )
    for logger in ("django", "django_tasks", "django_bgtasks"):
        caplog.set_level(logging.WARNING, logger=logger)
    sample.add(1)
    drain()
    assert statuses() == ["SUCCESSFUL"]
    assert built == []
    seen = []

    def listen(sender, task_result, **kwargs):
        seen.append(task_result.status)

    task_finished.connect(listen)
    try:
        sample.add(2)
        drain()
    finally:
        task_finished.disconnect(listen)
    assert seen == ["SUCCESSFUL"]
    assert len(built) == 1
