import threading
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.models import Session
from django.db import connection
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from django_bgtasks import NotJSON, Reference, ReferenceGone, enqueue_many, ref
from django_bgtasks.arguments import normalize
from django_bgtasks.encoding import TAG, decode
from django_bgtasks.models import Schedule
from tests.factories import make_job
from tests.sample import tasks as sample
from tests.sample.models import GiftOrder, Line, LoudOrder, Order
from tests.sample.values import Note

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def order():
    return Order.objects.create(title="old")


def hidden():
    return Order.objects.create(title="hidden", is_hidden=True)


def gift():
    return GiftOrder.objects.create(title="gift", greeting="Hello")


def proxy():
    return LoudOrder.objects.get(pk=Order.objects.create(title="proxy").pk)


def deferred():
    return Order.objects.only("pk").get(pk=Order.objects.create(title="deferred").pk)


def lazy():
    user = get_user_model().objects.create(username="lazy")
    return SimpleLazyObject(lambda: user)


def with_text_as_key():
    now = timezone.now() + timedelta(days=1)
    return Session.objects.create(pk="a:b@c", session_data="", expire_date=now)


def with_composite_key():
    return Line.objects.create(order=Order.objects.create(), number=7)


@pytest.mark.parametrize(
    "make",
    [hidden, gift, proxy, deferred, lazy, with_text_as_key, with_composite_key],
)
def test_any_saved_instance_can_be_referred_to(drain, make):
    instance = make()
    sample.keep(ref(instance))
    drain()
    [((given,), _)] = sample.calls
    assert given == instance
    assert given is not instance
    assert type(given) is instance.__class__
    assert str(given) == str(instance)
    assert not given.get_deferred_fields()


@pytest.mark.parametrize("name", ["keep", "akeep"])
def test_the_task_gets_the_row_as_it_is_then(drain, job_of, order, name):
    result = getattr(sample, name)([{"order": ref(order)}], order=ref(order), n=1)
    stored = {TAG: "reference", "value": f"sample.order:{order.pk}"}
    Order.objects.update(title="new")
    drain()
    [((nested,), keywords)] = sample.calls
    assert [nested[0]["order"].title, keywords["order"].title] == ["new", "new"]
    assert keywords["n"] == 1
    # The row is what it was, and so is a result: nothing is fetched to look at it.
    job = job_of(result)
    assert (job.args, job.kwargs) == ([[{"order": stored}]], {"order": stored, "n": 1})
    Order.objects.all().delete()
    result.refresh()
    assert result.status == "SUCCESSFUL"
    assert result.kwargs["order"] == Reference("sample.order", str(order.pk))


@pytest.mark.parametrize("name", ["keep", "akeep"])
def test_the_thread_of_the_job_fetches(drain, monkeypatch, order, name):
    threads = []
    fetch = Reference.fetch

    def noting(self, *args):
        threads.append(threading.current_thread().name)
        return fetch(self, *args)

    monkeypatch.setattr(Reference, "fetch", noting)
    getattr(sample, name)(ref(order))
    drain(threads=1)
    assert len(sample.calls) == 1
    assert threads == ["bgtasks-0"]


@pytest.mark.parametrize("name", ["keep", "akeep"])
def test_a_job_fails_at_once_when_its_row_is_gone(drain, job_of, order, name):
    result = getattr(sample, name)(1, order=[ref(order)])
    key = order.pk
    order.delete()
    drain()
    job = job_of(result)
    assert (job.status, job.attempt, sample.calls) == ("FAILED", 1, [])
    attempt = job.attempts.get()
    assert attempt.exception_class_path == "django_bgtasks.exceptions.ReferenceGone"
    assert (
        f"order[0] refers to sample.order:{key}, which is gone: there is no "
        "such row." in attempt.error
    )


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("shop.order:42", "no such model"),
        ("sample.order:42", "no such primary key"),
        ("sample.order@other:42", "no such primary key"),
        ("auth.user@other:42", "no such database"),
        ("auth.user:42", "no such row"),
        ("auth.user:99999999999999999999999", "no such row"),
        ("sample.line:42", "no such primary key"),
        ("sample.line:[]", "no such"),
    ],
)
def test_what_cannot_be_fetched_is_gone(text, missing):
    with pytest.raises(
        ReferenceGone, match=f"^A reference refers to {text.split(':')[0]}.* {missing}"
    ):
        Reference.from_text(text).fetch()


def test_a_job_that_refers_to_no_model_fails_at_once(drain):
    stored = {TAG: "reference", "value": "shop.order:42"}
    job = make_job(task="tests.sample.tasks.keep", args=[1, stored])
    drain()
    job.refresh_from_db()
    assert (job.status, job.attempt) == ("FAILED", 1)
    assert "args[1] refers to shop.order:42" in job.attempts.get().error


def test_now_fetches_and_leaves_the_rest(order):
    nested, thing = [[1], {"a": (2,)}], object()
    stale = ref(order)
    Order.objects.update(title="new")
    sample.keep.now(stale, nested, thing, (stale, thing), order={"deep": stale})
    [((fresh, same_nested, same_thing, pair), keywords)] = sample.calls
    assert fresh.title == pair[0].title == keywords["order"]["deep"].title == "new"
    assert same_nested is nested
    assert same_thing is pair[1] is thing
    endless = []
    endless.append(endless)
    sample.keep.now(endless)
    order.delete()
    with pytest.raises(ReferenceGone, match=r"args\[0\] refers to"):
        sample.keep.now(stale)


def test_a_context_is_told_of_references_and_of_what_is_no_json(order):
    def context_of(**kwargs):
        sample.keep_context.now(**kwargs)
        return sample.calls.pop()

    thing = object()
    told = context_of(value=thing).task_result.kwargs
    assert told == {"value": thing}
    told = context_of(value=ref(order)).task_result.kwargs
    assert told == {"value": Reference.of(order)}


def test_a_reference_within_an_object_is_the_tasks_to_fetch(settings, drain, order):
    settings.BGTASKS = {"ENCODER": "django_bgtasks.encoding.RichEncoder"}
    sample.keep(Note("text", more=ref(order)))
    drain()
    [((note,), _)] = sample.calls
    assert note.more == Reference.of(order)
    assert note.more.fetch() == order


def test_a_task_may_return_a_reference(drain, order):
    result = sample.echo(ref(order))
    with pytest.raises(NotJSON, match=r"or pass ref\(...\) of it"):
        sample.echo(order)
    drain()
    result.refresh()
    assert result.status == "FAILED"  # it returned the instance itself
    assert "the return value is an Order" in result.errors[0].traceback


def test_many_jobs_can_be_given_references(drain, order):
    enqueue_many(sample.keep.s(ref(order)) for _ in range(3))
    drain()
    assert sample.calls == [((order,), {})] * 3


def test_a_schedule_passes_references_on(order):
    stored = normalize(Reference.of(order), "args[0]")
    schedule = Schedule(
        name="one",
        task="tests.sample.tasks.keep",
        args=[stored],
        every=timedelta(minutes=1),
    )
    assert schedule.as_periodic().bound_task() == sample.keep
    assert schedule.as_periodic().args == [Reference.of(order)]


@pytest.mark.once
def test_a_reference_can_be_written_as_text(order):
    for text in ("shop.order:42", "shop.order@archive:a:b@c"):
        assert str(Reference.from_text(text)) == text
        assert decode(normalize(Reference.from_text(text), "a")) == Reference.from_text(
            text
        )
    assert Reference.from_text("shop.order@archive:a:b@c") == Reference(
        "shop.order", "a:b@c", "archive"
    )
    assert str(Reference.of(order)) == f"sample.order:{order.pk}"
    for text in ("", "shop.order", "order:42", ":42"):
        with pytest.raises(ValueError, match="is no reference, such as"):
            Reference.from_text(text)


@pytest.mark.once
def test_a_reference_is_to_where_the_row_is_written(settings, order):
    class Router:
        def db_for_write(self, model, instance=None, **hints):
            return "primary"

    order._state.db = "replica"
    settings.DATABASE_ROUTERS = [Router()]
    assert Reference.of(order).database == "primary"
    settings.DATABASE_ROUTERS = []
    order._state.db = connection.alias
    assert Reference.of(order).database == ""


@pytest.mark.once
def test_what_nobody_could_find_is_refused(order):
    for unsaved in (Order(), Order(pk=order.pk), GiftOrder()):
        with pytest.raises(ValueError, match="that is not saved.*; save it first"):
            ref(unsaved)
    order.delete()
    with pytest.raises(ValueError, match="is not saved"):
        ref(order)
    for wrong in (5, Order, Order.objects.all(), AnonymousUser()):
        with pytest.raises(TypeError, match="which is no model instance"):
            ref(wrong)
