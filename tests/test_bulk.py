"""enqueue_many: many jobs in few statements."""

import logging
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.utils import timezone

from django_bgtasks import NotJSON, aenqueue_many, enqueue_many
from django_bgtasks._framework import InvalidTask, signals, task_backends, task_enqueued
from django_bgtasks.models import Job
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db

DATABASE_BACKEND = {"BACKEND": "django_bgtasks.backend.DatabaseBackend"}

#: What must be written as it is, however it is written.
AWKWARD = "tab\t newline\n back\\slash \\N quote' \" percent %s ü 漢 \U0001f600"


def test_any_mix_comes_back_in_order():
    later = timezone.now() + timedelta(hours=1)
    signatures = [
        sample.add.s(1, b=2),
        sample.send_mail.s("a@example.org", subject="Hi"),
        sample.add.using(run_after=later, priority=7).s(3),
        sample.add.s(4).using(queue_name="other"),
    ]
    results = enqueue_many(signatures)
    rows = Job.objects.in_bulk()
    jobs = [rows[result_id] for result_id in sorted(rows)]
    assert [result.id for result in results] == [str(job.pk) for job in jobs]
    assert [(j.task, j.args, j.kwargs) for j in jobs] == [
        (s.task.path, list(s.args), s.kwargs) for s in signatures
    ]
    assert [j.queue for j in jobs] == ["default", "mail", "default", "other"]
    assert [j.priority for j in jobs] == [0, 10, 7, 0]
    assert [j.status for j in jobs] == ["READY", "READY", "SCHEDULED", "READY"]
    assert jobs[2].run_after == later
    assert (jobs[1].max_attempts, jobs[1].timeout) == (5, 30)


def test_the_rows_are_those_that_single_calls_write():
    one = sample.add(1, b=2)
    (many, *_) = enqueue_many(sample.add.s(1, b=2) for _ in range(50))
    first, second = (Job.objects.values().get(pk=r.id) for r in (one, many))
    for row in (first, second):
        del row["id"], row["enqueued_at"]
    assert first == second
    assert one.args == many.args
    assert one.enqueued_at.tzinfo == many.enqueued_at.tzinfo


@pytest.mark.django_db(transaction=True)
def test_async_code_enqueues_many():
    async def view():
        results = await aenqueue_many([sample.add.s(1), sample.aadd.s(2)])
        return results, await aenqueue_many(
            (sample.add.s(n) for n in "abc"), results=False
        )

    results, count = async_to_sync(view)()
    assert [result.args for result in results] == [[1], [2]]
    assert count == 3
    assert Job.objects.count() == 5


@pytest.mark.parametrize("count", [1, 2, 100])
def test_awkward_values_are_kept(count):
    value = {"text": AWKWARD, "numbers": [1, -2.5, 10**30, None, True], "": {}}
    enqueue_many(sample.add.s(value, b=AWKWARD) for _ in range(count))
    for job in Job.objects.all():
        assert (job.args, job.kwargs) == ([value], {"b": AWKWARD})


@pytest.mark.parametrize(
    "queue", ["it's", 'a "b"', "100 %", "tab\there", "back\\slash"]
)
def test_awkward_queues_are_kept(queue):
    enqueue_many(sample.add.using(queue_name=queue).s(n) for n in range(30))
    assert set(Job.objects.values_list("queue", flat=True)) == {queue}


def test_few_statements(django_assert_max_num_queries):
    sample.add(1)
    with django_assert_max_num_queries(6):  # three batches, a savepoint around
        enqueue_many([sample.add.s(n) for n in range(250)], batch_size=100)
    assert Job.objects.count() == 251


def test_a_generator_is_never_read_far_ahead():
    seen = []

    def signatures():
        for n in range(1000):
            seen.append(Job.objects.count())
            yield sample.add.s(n)

    assert enqueue_many(signatures(), batch_size=100, results=False) == 1000
    assert seen == [n // 100 * 100 for n in range(1000)]


def test_nothing_at_all():
    assert enqueue_many([]) == []
    assert enqueue_many(iter(()), results=False) == 0


@pytest.mark.parametrize(
    ("wrong", "error", "told"),
    [
        (lambda: sample.add.s(object()), NotJSON, r"args\[0\] is an object"),
        (sample.add.s, TypeError, r"add\(\) cannot be called so"),
        (lambda: sample.add.s(1, 2, 3), TypeError, "too many positional"),
        (lambda: sample.add.s(1, c=3), TypeError, "unexpected keyword"),
        (lambda: sample.add, TypeError, r"it takes signatures, such as send\.s\(42\)"),
        (
            lambda: sample.add.using(queue_name="x" * 101).s(1),
            InvalidTask,
            "1 to 100 characters",
        ),
    ],
)
def test_one_mistake_and_nothing_is_written(wrong, error, told):
    signatures = (wrong() if n == 25 else sample.add.s(n) for n in range(30))
    with pytest.raises(error, match=told):
        enqueue_many(signatures, batch_size=10)
    assert not Job.objects.exists()


def test_a_batch_has_a_size():
    with pytest.raises(ValueError, match="at least 1"):
        enqueue_many([], batch_size=0)


def test_a_signature_alone():
    result = sample.add.s(1, b=2).enqueue()
    assert Job.objects.get(pk=result.id).kwargs == {"b": 2}


def test_receivers_are_told_of_each(caplog):
    caplog.set_level(logging.WARNING)
    told = []

    def listen(sender, task_result, **kwargs):
        told.append(task_result.id)

    task_enqueued.connect(listen)
    try:
        results = enqueue_many(sample.add.s(n) for n in range(3))
        assert enqueue_many([sample.add.s(4)], results=False) == 1
    finally:
        task_enqueued.disconnect(listen)
    assert told[:3] == [result.id for result in results]
    assert len(told) == 4


def test_the_framework_logs_each_if_it_is_to_log(caplog):
    with caplog.at_level(logging.DEBUG, signals.logger.name):
        enqueue_many([sample.add.s(1), sample.add.s(2)], results=False)
    assert caplog.text.count("enqueued backend=default") == 2


def test_other_backends_take_their_own(settings):
    dummy = {"BACKEND": f"{task_backends.__module__}.backends.dummy.DummyBackend"}
    settings.TASKS = {"default": DATABASE_BACKEND, "elsewhere": dummy}
    elsewhere = sample.add.using(backend="elsewhere")
    results = enqueue_many([sample.add.s(1), elsewhere.s(2), sample.add.s(3)])
    assert [result.args for result in results] == [[1], [2], [3]]
    assert [job.args for job in Job.objects.order_by("id")] == [[1], [3]]
    assert task_backends["elsewhere"].results == [results[1]]
