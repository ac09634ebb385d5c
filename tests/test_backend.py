"""Django's contract: https://docs.djangoproject.com/en/stable/ref/tasks/"""

import asyncio
import enum
import logging
from datetime import datetime, timedelta

import pytest
from asgiref.sync import async_to_sync
from django.core import checks
from django.db import transaction
from django.test import override_settings
from django.utils import timezone

from django_bgtasks import NotJSON, enqueue_many
from django_bgtasks import tasks as module
from django_bgtasks._framework import (
    InvalidTask,
    TaskResultDoesNotExist,
    TaskResultMismatch,
    TaskResultStatus,
    task_backends,
    task_enqueued,
)
from django_bgtasks.backend import DatabaseBackend, backend_for
from django_bgtasks.models import Job
from tests.sample import plain_tasks
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db

DATABASE_BACKEND = {"BACKEND": "django_bgtasks.backend.DatabaseBackend"}


def test_calling_a_task_writes_one_ready_row():
    result = sample.send_mail("a@example.org", subject="Hi")
    job = Job.objects.get()
    assert str(job.pk) == result.id
    assert (job.task, job.queue, job.priority) == (sample.send_mail.path, "mail", 10)
    assert (job.args, job.kwargs) == (["a@example.org"], {"subject": "Hi"})
    assert (job.status, job.attempt, job.max_attempts) == ("READY", 0, 5)
    assert (job.timeout, job.backend) == (30, "default")


def test_enqueueing_is_one_statement(django_assert_num_queries):
    sample.add(1)
    with django_assert_num_queries(1):
        sample.add(1)


def test_the_result_is_a_snapshot_of_a_waiting_job():
    result = sample.add(1, b=2)
    assert result.status == TaskResultStatus.READY
    assert result.task.path == sample.add.path
    assert (result.args, result.kwargs) == ([1], {"b": 2})
    assert (result.errors, result.worker_ids, result.attempts) == ([], [], 0)
    assert result.enqueued_at is not None
    assert result.started_at is result.finished_at is None
    assert not result.is_finished
    with pytest.raises(ValueError, match="not finished yet"):
        _ = result.return_value


def test_options_nobody_gave_come_from_the_settings(job_of):
    with override_settings(BGTASKS={"MAX_ATTEMPTS": 9, "TIMEOUT": 60}):
        job = job_of(sample.add(1))
    assert (job.max_attempts, job.timeout) == (9, 60)


@pytest.mark.parametrize(
    "schedule", [60, 60.0, timedelta(minutes=1), "datetime"], ids=str
)
def test_a_schedule_makes_it_wait(job_of, schedule):
    before = timezone.now()
    if schedule == "datetime":
        schedule = before + timedelta(minutes=1)
    job = job_of(sample.add(1, schedule=schedule, priority=3, queue="later"))
    assert job.status == "SCHEDULED"
    assert timedelta(seconds=60) <= job.run_after - before < timedelta(seconds=70)
    assert (job.priority, job.queue, job.kwargs) == (3, "later", {})


@pytest.mark.parametrize("schedule", [0, -5, timedelta(-1)])
def test_what_is_due_is_ready(job_of, schedule):
    assert job_of(sample.add(1, schedule=schedule)).status == "READY"


def test_priority_zero_overrides(job_of):
    assert job_of(sample.send_mail("a", priority=0)).priority == 0


class Lane(str, enum.Enum):  # noqa: UP042 (as projects have them from before StrEnum)
    FAST = "fast"


class Urgency(enum.IntEnum):
    HIGH = 10


@pytest.mark.parametrize("count", [1, 30])  # 30: copied, where the database can
@pytest.mark.parametrize(
    ("options", "queue", "priority"),
    [
        ({"queue_name": Lane.FAST}, "fast", 0),
        ({"priority": Urgency.HIGH}, "default", 10),
        ({"priority": 5.0}, "default", 5),
    ],
)
def test_options_are_written_as_they_are_meant(options, queue, priority, count):
    task = sample.add.using(**options)
    enqueue_many([task.s(1)] * count)
    assert set(Job.objects.values_list("queue", "priority")) == {(queue, priority)}


def test_using_and_enqueue(job_of):
    later = timezone.now() + timedelta(days=1)
    result = sample.add.using(
        priority=5, run_after=later, queue_name="x", max_attempts=1, timeout=2
    ).enqueue(1)
    job = job_of(result)
    assert (job.priority, job.queue, job.status) == (5, "x", "SCHEDULED")
    assert (job.run_after, job.max_attempts, job.timeout) == (later, 1, 2)
    fetched = sample.add.get_result(result.id)
    assert fetched.task.priority == 5
    assert fetched.task.run_after == later


@pytest.mark.skipif(
    "not __import__('django.conf').conf.settings.USE_TZ", reason="needs time zones"
)
def test_a_naive_time_is_refused():
    with pytest.raises(InvalidTask, match="aware datetime"):
        sample.add(1, schedule=datetime(2030, 1, 1))


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((1, 2, 3), {}), ((1,), {"c": 1}), ((1,), {"a": 1})]
)
def test_arguments_that_do_not_fit_are_refused_at_the_call(args, kwargs):
    with pytest.raises(TypeError, match=r"tests\.sample\.tasks\.add\(\) cannot be"):
        sample.add(*args, **kwargs)
    assert not Job.objects.exists()


def test_the_context_is_no_argument_of_the_call(job_of):
    assert job_of(sample.succeed_at(2)).args == [2]
    with pytest.raises(TypeError, match="too many positional arguments"):
        sample.succeed_at(1, 2)


def test_arguments_that_are_not_json_are_refused_at_the_call():
    with pytest.raises(NotJSON, match=r"args\[1\]\.when is a datetime; pass \.iso"):
        sample.add(1, {"when": timezone.now()})
    assert not Job.objects.exists()


def test_arguments_come_back_as_json_has_them():
    result = sample.add((1, 2), b={3: "x"})
    assert (result.args, result.kwargs) == ([[1, 2]], {"b": {"3": "x"}})
    assert sample.add.get_result(result.id).args == result.args
    assert sample.add.get_result(result.id).kwargs == result.kwargs


def test_a_result_is_found_by_id():
    result = sample.add(1)
    found = sample.add.get_result(result.id)
    assert (found.id, found.status, found.args) == (result.id, result.status, [1])
    assert found.enqueued_at == result.enqueued_at
    assert found.task == sample.add


@pytest.mark.parametrize(
    "result_id", ["019b0000-0000-7000-8000-000000000000", "no uuid", "", 123]
)
def test_a_missing_result_is_said(result_id):
    with pytest.raises(TaskResultDoesNotExist):
        sample.add.get_result(result_id)


def test_the_result_of_another_task_is_refused():
    with pytest.raises(TaskResultMismatch):
        sample.aadd.get_result(sample.add(1).id)


def test_a_result_of_a_task_that_is_gone_is_said(job_of):
    result = sample.add(1)
    Job.objects.update(task="gone.away")
    with pytest.raises(TaskResultDoesNotExist, match=r"gone\.away.* no registered"):
        sample.add.get_result(result.id)


def test_refresh_sees_what_happened():
    result = sample.add(1)
    Job.objects.update(
        status="SUCCESSFUL", result=5, finished_at=timezone.now(), attempt=1
    )
    result.refresh()
    assert result.is_finished
    assert result.return_value == 5


def test_a_result_can_be_cancelled(job_of):
    result = sample.add(1)
    assert result.cancel(by="ada") is True
    job = job_of(result)
    assert (job.status, job.cancel_requested_by) == ("CANCELLED", "ada")
    assert result.status == "READY", "it is a snapshot"
    result.refresh()
    assert result.status == "FAILED"
    assert async_to_sync(result.acancel)() is False
    assert sample.add.get_result(result.id).cancel() is False


@pytest.mark.parametrize(
    ("status", "shown"),
    [("SCHEDULED", "READY"), ("CANCELLED", "FAILED"), ("RUNNING", "RUNNING")],
)
def test_our_statuses_as_djangos(status, shown):
    result = sample.add(1)
    Job.objects.update(status=status)
    result.refresh()
    assert result.status == shown


def test_calls_from_async_code():
    assert asyncio.run(sample.aadd.acall(1, 2)) == 3
    assert asyncio.run(sample.add.acall(1, 2)) == 3


def test_task_enqueued_is_sent_and_logged(caplog):
    received = []

    def receiver(sender, task_result, **kwargs):
        received.append((sender, task_result.id))

    task_enqueued.connect(receiver)
    caplog.set_level(logging.DEBUG, logger="django.tasks")
    caplog.set_level(logging.DEBUG, logger="django_tasks")
    try:
        result = sample.add(1)
    finally:
        task_enqueued.disconnect(receiver)
    assert received == [(DatabaseBackend, result.id)]
    assert any(result.id in record.getMessage() for record in caplog.records)


def test_capabilities():
    assert DatabaseBackend.supports_defer
    assert DatabaseBackend.supports_async_task
    assert DatabaseBackend.supports_get_result
    assert DatabaseBackend.supports_priority


def test_without_tasks_setting_the_database_serves():
    backend = sample.add.get_backend()
    assert type(backend) is DatabaseBackend
    assert backend.queues == set()


@override_settings(TASKS={"default": {**DATABASE_BACKEND, "QUEUES": ["a", "b"]}})
def test_the_configured_backend_is_used_where_there_is_one(job_of):
    assert sample.add.get_backend() is task_backends["default"]
    assert job_of(sample.add(1, queue="a")).queue == "a"
    with pytest.raises(InvalidTask, match="'mail' is not valid"):
        sample.add(1, queue="mail")


def test_what_became_invalid_since_is_refused_at_the_call():
    only_default = {**DATABASE_BACKEND, "QUEUES": ["default"]}
    with (
        override_settings(TASKS={"default": only_default}),
        pytest.raises(InvalidTask, match="'mail' is not valid"),
    ):
        sample.send_mail("a@example.org")
    assert not Job.objects.exists()


@override_settings(TASKS={"default": DATABASE_BACKEND})
def test_without_queues_any_queue_may_be_used(job_of):
    assert job_of(sample.add(1, queue="whatever")).queue == "whatever"


@override_settings(TASKS={"default": DATABASE_BACKEND, "other": DATABASE_BACKEND})
def test_another_alias(job_of):
    result = sample.add.using(backend="other").enqueue(1)
    assert result.backend == "other"
    assert job_of(result).backend == "other"
    assert sample.add.get_result(result.id).task.backend == "other"


@override_settings(TASKS={"other": DATABASE_BACKEND})
def test_tasks_setting_without_a_default(job_of):
    assert job_of(sample.add(1)).backend == "default"


def test_an_unknown_alias_is_refused():
    with pytest.raises(Exception, match="nowhere"):
        backend_for("nowhere")


@override_settings(TASKS={"default": DATABASE_BACKEND})
def test_checks_find_nothing_wrong():
    assert not [m for m in checks.run_checks() if m.id.startswith("django_bgtasks")][1:]


@override_settings(TASKS={"default": DATABASE_BACKEND})
def test_djangos_own_decorator_makes_our_tasks(monkeypatch):
    monkeypatch.setattr(module, "_registry", {})
    task = plain_tasks.declare()
    assert isinstance(task, module.Task)
    result = task.enqueue(2)
    assert Job.objects.get(pk=result.id).task == "tests.sample.plain_tasks.double"
    assert module.find_task("tests.sample.plain_tasks.double") is task


def test_what_djangos_own_decorator_made_goes_where_tasks_says_today(monkeypatch):
    monkeypatch.setattr(module, "_registry", {})
    with override_settings(TASKS={"default": DATABASE_BACKEND}):
        task = plain_tasks.declare()
    # As tests of a project have it, or of a third-party app.
    with override_settings(TASKS={"default": {"BACKEND": plain_tasks.DUMMY}}):
        result = task.enqueue(2)
        assert task_backends["default"].results == [result]
    with override_settings(TASKS={"default": {"BACKEND": plain_tasks.IMMEDIATE}}):
        assert task.enqueue(2).return_value == 4
        assert task.using(priority=1).enqueue(3).return_value == 6
        assert sample.add(1).status == TaskResultStatus.READY
    assert Job.objects.get().task == sample.add.path


@override_settings(TASKS={"default": DATABASE_BACKEND})
def test_djangos_own_decorator_takes_our_options_where_it_can():
    try:
        task = plain_tasks.declare(max_attempts=7)
    except TypeError as error:
        # Django 6.0 hands on no options but its own.
        assert "max_attempts" in str(error)  # noqa: PT017 (its type differs)
    else:
        assert task.max_attempts == 7


@override_settings(
    TASKS={
        "default": {"BACKEND": plain_tasks.IMMEDIATE},
        "rows": DATABASE_BACKEND,
    }
)
def test_a_plain_task_sent_to_our_backend(monkeypatch):
    monkeypatch.setattr(module, "_registry", {})
    task = plain_tasks.plain
    assert not isinstance(task, module.Task)
    result = task.using(backend="rows", priority=3).enqueue(2)
    job = Job.objects.get(pk=result.id)
    assert (job.task, job.priority, job.max_attempts) == (task.module_path, 3, 3)
    # A worker, in another process, finds it where it was declared.
    monkeypatch.setattr(module, "_registry", {})
    assert module.find_task(job.task).func is task.func


def test_rolled_back_leaves_no_row():
    with pytest.raises(RuntimeError), transaction.atomic():  # noqa: PT012 (rolled back on the way)
        sample.add(1)
        raise RuntimeError
    assert not Job.objects.exists()


def test_an_inner_rollback_takes_only_its_own():
    with transaction.atomic():
        kept = sample.add(1)
        with pytest.raises(RuntimeError), transaction.atomic():  # noqa: PT012 (as above)
            sample.add(2)
            raise RuntimeError
    assert str(Job.objects.get().pk) == kept.id
