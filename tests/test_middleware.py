"""What wraps every enqueueing and every attempt."""

import asyncio
import threading

import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from django_bgtasks import enqueue_many
from django_bgtasks.middleware import Middleware
from django_bgtasks.models import Attempt, Job
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db(transaction=True)

seen = []


class Outer(Middleware):
    def enqueue(self, signatures, enqueue):
        seen.append(("outer enqueue", [s.task.path for s in signatures]))
        return enqueue([s.using(metadata={"trace": "abc"}) for s in signatures])

    def attempt(self, context, run):
        seen.append("outer begins")
        try:
            return run()
        finally:
            seen.append("outer ends")


class Inner(Middleware):
    def attempt(self, context, run):
        seen.append(("inner", context.job_id, context.metadata, context.attempt))
        return run()


class Doubling(Middleware):
    def attempt(self, context, run):
        return run() * 2


class OnTheLoop(Middleware):
    def attempt(self, context, run):
        seen.append("in the thread")
        return run()

    async def aattempt(self, context, run):
        seen.append(("on the loop", asyncio.get_running_loop().is_running()))
        await asyncio.sleep(0)
        return await run()


class Refusing(Middleware):
    def enqueue(self, signatures, enqueue):
        raise PermissionError("not today")

    def attempt(self, context, run):
        raise PermissionError("not today")


class Forgetful(Middleware):
    def enqueue(self, signatures, enqueue):
        enqueue(signatures)
        return []


class WhereAmI(Middleware):
    def attempt(self, context, run):
        seen.append((threading.current_thread().name, connection.in_atomic_block))
        return run()


class NoMiddleware:
    pass


@pytest.fixture
def use(settings):
    seen.clear()

    def listed(*kinds):
        paths = [f"{__name__}.{kind.__name__}" for kind in kinds]
        settings.BGTASKS = {**settings.BGTASKS, "MIDDLEWARE": paths}

    return listed


def test_an_attempt_is_wrapped_from_outside_in(use, drain, job_of):
    use(Outer, Inner)
    result = sample.add(1, 2)
    drain()
    assert seen == [
        ("outer enqueue", [sample.add.path]),
        "outer begins",
        ("inner", result.id, {"trace": "abc"}, 1),
        "outer ends",
    ]
    assert job_of(result).result == 3
    assert job_of(result).metadata == {"trace": "abc"}


def test_many_are_wrapped_as_one(use, drain):
    use(Outer)
    results = enqueue_many([sample.add.s(1), sample.aadd.s(2)])
    assert seen == [("outer enqueue", [sample.add.path, sample.aadd.path])]
    assert len(results) == 2
    assert enqueue_many([sample.add.s(3)], results=False) == 1
    assert {job.metadata["trace"] for job in Job.objects.all()} == {"abc"}


def test_what_it_returns_is_the_result(use, drain, job_of):
    use(Doubling)
    results = [sample.add(1, 2), sample.aadd(2, 3)]
    drain()
    assert [job_of(result).result for result in results] == [6, 10]


def test_async_tasks_are_wrapped_where_they_run(use, drain, job_of):
    use(OnTheLoop, Doubling)
    result = sample.aadd(1, 2)
    drain()
    assert seen == [("on the loop", True)]
    assert job_of(result).result == 6
    sample.add(1)
    drain()
    assert seen[1:] == ["in the thread"]


def test_within_the_transaction_of_an_atomic_task(use, drain):
    use(WhereAmI)
    sample.write_a_user_once("ada")
    sample.add(1)
    drain(threads=1)
    assert sorted(seen) == [("bgtasks-0", False), ("bgtasks-0", True)]


def test_what_it_raises_fails_the_attempt(use, drain):
    use(Refusing)
    job = Job.objects.create(
        task=sample.add.path, queue="default", status="READY", args=[1], kwargs={},
        backend="default", max_attempts=1, enqueued_at="2026-01-01T00:00Z",
    )  # fmt: skip
    drain()
    job.refresh_from_db()
    assert job.status == "FAILED"
    assert Attempt.objects.get().error == "PermissionError: not today"
    assert sample.calls == []


def test_what_it_raises_stops_the_enqueueing(use):
    use(Refusing)
    with pytest.raises(PermissionError):
        sample.add(1)
    with pytest.raises(PermissionError):
        enqueue_many([sample.add.s(1)])
    assert not Job.objects.exists()


def test_one_that_loses_the_result_is_told(use):
    use(Forgetful)
    with pytest.raises(TypeError, match="must return what enqueue"):
        sample.add(1)


@pytest.mark.parametrize("task", [sample.run_for_ever, sample.await_for_ever])
def test_a_time_limit_unwinds_it(use, worker, until, time, task):
    use(Outer)
    task()
    until(sample.started.is_set)
    time.advance(5)
    until(lambda: Attempt.objects.filter(ending="TIMED_OUT").exists())
    assert seen[1:] == ["outer begins", "outer ends"]


@pytest.mark.once
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere.At.All", r"importable \(No module named 'nowhere'"),
        (
            f"{__name__}.NoMiddleware",
            "a subclass of django_bgtasks.middleware.Middleware",
        ),
        (f"{__name__}.Missing", "importable"),
    ],
)
def test_what_is_no_middleware_is_told_at_start(settings, path, message):
    settings.BGTASKS = {"MIDDLEWARE": [path]}
    with pytest.raises(ImproperlyConfigured, match=message):
        apps.get_app_config("django_bgtasks").ready()
