import threading
from datetime import timedelta

import pytest
from django.utils import timezone

from django_bgtasks.models import Queue
from django_bgtasks.store import queues, wakeup
from tests.factories import held, in_thread

NOW = timezone.now()
MINUTE = timedelta(minutes=1)


def columns(name):
    return Queue.objects.values_list("paused_at", "resume_at").get(pk=name)


@pytest.mark.django_db
def test_a_pause_may_have_an_end():
    queues.pause("mail", NOW, until=NOW + MINUTE)
    assert columns("mail") == (NOW, NOW + MINUTE)
    # Another end, and none: since when is not forgotten.
    queues.pause("mail", NOW + MINUTE, until=NOW + 9 * MINUTE)
    assert columns("mail") == (NOW, NOW + 9 * MINUTE)
    queues.pause("mail", NOW + MINUTE)
    assert columns("mail") == (NOW, None)
    queues.pause("mail", until=NOW)
    queues.resume("mail")
    assert columns("mail") == (None, None)


@pytest.mark.django_db
def test_queues_are_resumed_when_they_are_due(monkeypatch):
    called = []
    monkeypatch.setattr(wakeup, "call", called.append)
    queues.pause("now", NOW - MINUTE, until=NOW)
    queues.pause("later", NOW - MINUTE, until=NOW + MINUTE)
    queues.pause("never", NOW - MINUTE)
    assert queues.resume_due(NOW) == called == ["now"]
    assert columns("now") == (None, None)
    assert columns("later") == (NOW - MINUTE, NOW + MINUTE)
    assert columns("never") == (NOW - MINUTE, None)
    assert queues.resume_due(NOW) == []


@pytest.mark.django_db
def test_to_find_nothing_due_is_one_query(django_assert_num_queries):
    queues.pause("later", NOW, until=NOW + MINUTE)
    with django_assert_num_queries(1):
        queues.resume_due(NOW)


@pytest.mark.django_db
def test_who_says_otherwise_in_between_is_heeded(monkeypatch):
    """Between the look and the write, somebody wants it paused for longer."""
    queues.pause("mail", NOW - MINUTE, until=NOW)

    def read(names):
        found = list(names)
        queues.pause("mail", until=NOW + MINUTE)
        return found

    monkeypatch.setattr(queues, "list", read, raising=False)
    assert queues.resume_due(NOW) == []
    assert columns("mail") == (NOW - MINUTE, NOW + MINUTE)


@pytest.mark.django_db(transaction=True)
def test_two_who_resume_at_the_same_time_do_so_once(only):
    only("postgresql", "mysql")
    queues.pause("mail", NOW - MINUTE, until=NOW)
    resumed, both = [], threading.Barrier(3)

    def resume():
        both.wait()
        resumed.extend(queues.resume_due(NOW))

    with held(Queue(name="mail")):
        # Both have seen that it is due when one of them may write.
        threads = [in_thread(resume) for _ in range(2)]
        both.wait()
    for thread in threads:
        thread.join()
    assert resumed == ["mail"]
    assert columns("mail") == (None, None)
