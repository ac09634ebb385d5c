"""Who is called when work is committed, and how often."""

from contextlib import suppress

import pytest
from django.db import connection, transaction

from django_bgtasks.models import Job
from django_bgtasks.store import lifecycle, queues, wakeup
from django_bgtasks.store.engines.base import Engine
from tests.factories import make_finished, make_job
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def calls(monkeypatch, time):
    """The queues that are called for; nobody has called before."""
    called = []
    monkeypatch.setattr(wakeup, "_called_at", {})
    monkeypatch.setattr(wakeup.time, "monotonic", time)
    engine = type(lifecycle.get_engine())
    monkeypatch.setattr(engine, "call", lambda self, queue: called.append(queue))
    insert = engine.insert

    def note(self, jobs, call=None):
        before = len(called)
        insert(self, jobs, call)
        # PostgreSQL's goes with the INSERT, the others' are calls of their own.
        if call is not None and len(called) == before:
            called.append(call)

    monkeypatch.setattr(engine, "insert", note)
    return called


def test_a_call_comes_with_the_commit(calls):
    with transaction.atomic():
        sample.add(1)
        assert calls == []
    assert calls == ["default"]


def test_no_commit_no_call(calls):
    with suppress(ZeroDivisionError), transaction.atomic():
        sample.add(1)
        raise ZeroDivisionError
    assert calls == []


def test_one_call_a_queue_and_interval(calls, time):
    for _ in range(3):
        sample.add(1)
        sample.send_mail("a@example.org")
    assert calls == ["default", "mail"]
    time.advance(wakeup.INTERVAL)
    sample.add(1)
    assert calls == ["default", "mail", "default"]


def test_nobody_is_called_for_what_is_not_due(calls):
    sample.add(1, schedule=60)
    assert calls == []
    sample.add(1, schedule=0.2)
    assert calls == [""], "due before the next look"


def test_what_else_makes_work(calls, time):
    make_finished("FAILED", time_of())
    lifecycle.retry(Job.objects.all())
    assert calls == [""]
    queues.pause("mail")
    queues.resume("mail")
    assert calls == ["", "mail"]


def test_names_without_end_are_not_kept(calls, monkeypatch):
    monkeypatch.setattr(wakeup, "_MOST", 10)
    for n in range(100):
        wakeup.call(f"queue {n}")
    assert len(calls) == 100
    assert len(wakeup._called_at) <= 11


def test_a_call_that_fails_fails_no_enqueue(monkeypatch, caplog):
    def fail(self, queue):
        raise OSError("nobody can be called")

    monkeypatch.setattr(wakeup, "_called_at", {})
    monkeypatch.setattr(type(lifecycle.get_engine()), "call", fail)
    with transaction.atomic():
        sample.add(1)
    assert Job.objects.count() == 1
    assert "nobody can be called" in caplog.text


def test_a_job_alone_takes_the_call_along(calls, django_assert_num_queries):
    with django_assert_num_queries(1):
        sample.add(1)
    assert calls == ["default"]


def test_those_who_commit_themselves_call_nobody(calls):
    connection.set_autocommit(False)
    try:
        sample.add(1)
        connection.commit()
    finally:
        connection.set_autocommit(True)
    assert Job.objects.count() == 1
    assert calls == []


def test_a_worker_in_this_process_is_told_each_time(calls):
    told = []

    def listen():
        told.append(Job.objects.count())

    wakeup.listen_here(listen)
    try:
        sample.add(1)
        sample.add(1)
    finally:
        wakeup.stop_listening(listen)
    sample.add(1)
    assert told == [1, 2]


def test_the_portable_engine_calls_nobody():
    assert Engine(connection).call("default") is None


def time_of():
    return make_job().enqueued_at
