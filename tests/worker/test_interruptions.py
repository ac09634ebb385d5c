"""Time limits in queries, and tasks that stop by themselves when they are cancelled."""

import sys
import threading
import traceback
from contextlib import suppress

import pytest
from django.db import connection, connections

from django_bgtasks.context import TaskContext
from django_bgtasks.exceptions import TimeLimitExceeded
from django_bgtasks.models import Attempt, Job
from django_bgtasks.worker import interrupt
from tests.factories import in_thread
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db(transaction=True)


def statuses():
    return list(Job.objects.order_by("id").values_list("status", flat=True))


@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_time_limit_holds_in_a_query(worker, until, time, in_transaction):
    sample.wait_in_the_database.using(max_attempts=1).enqueue(in_transaction)
    until(sample.started.is_set)
    until(_queries)
    time.advance(6)
    until(lambda: statuses() == ["FAILED"])
    attempt = Attempt.objects.get()
    assert attempt.ending == "TIMED_OUT"
    assert "TimeLimitExceeded" in attempt.error
    assert sample.calls == ["unwound"]
    for n in range(8):
        sample.write_a_user(str(n))
    until(lambda: statuses() == ["FAILED"] + ["SUCCESSFUL"] * 8)


def _queries():
    """Whether a thread has sent its query and waits for the answer."""
    for thread in threading.enumerate():
        frame = sys._current_frames().get(thread.ident)
        if thread.name.startswith("bgtasks-") and frame is not None:
            stack = traceback.extract_stack(frame)
            if any(entry.name == "execute" for entry in stack):
                return True
    return False


class TestATaskThatLooks:
    def cancel(self, worker, until, time, **kwargs):
        result = sample.stop_when_cancelled(**kwargs)
        until(sample.started.is_set)
        until(lambda: _looks(worker))
        assert result.cancel(by="ada")
        time.advance(1.1)
        return result

    def test_stops_by_itself(self, worker, until, time, job_of):
        result = self.cancel(worker, until, time)
        until(lambda: statuses() == ["CANCELLED"])
        attempt = job_of(result).attempts.get()
        assert attempt.ending == "CANCELLED"
        # It returned, and was not interrupted.
        assert "stop_when_cancelled" not in attempt.traceback

    def test_is_interrupted_after_the_grace(self, worker, until, time, job_of):
        result = self.cancel(worker, until, time, heeds=False)
        worker.tick()
        time.advance(9.8)
        worker.tick()
        assert statuses() == ["RUNNING"]
        time.advance(0.3)
        until(lambda: statuses() == ["CANCELLED"])
        assert "stop_when_cancelled" in job_of(result).attempts.get().traceback


def _looks(worker):
    return any(execution._looks_for_cancellation for execution in worker._running)


@pytest.mark.once
def test_queries_are_cancelled_until_the_exception_is_there(monkeypatch):
    """A thread may have been about to send one when it was interrupted."""
    monkeypatch.setattr(interrupt, "INSIST_INTERVAL", 0)
    cancelled, entered, caught = [], threading.Event(), threading.Event()
    gate = threading.Lock()
    gate.acquire()
    stretch = interrupt.Interruptible()

    def work():
        connection.ensure_connection()
        cancellers = interrupt._cancellers[threading.get_ident()]
        cancellers[connections["default"]] = lambda: cancelled.append(True)
        with suppress(TimeLimitExceeded), stretch:
            try:
                entered.set()
                with gate:  # a wait inside C
                    pass
            finally:
                caught.set()
                gate.acquire()

    thread = in_thread(work)
    entered.wait(10)
    stretch.interrupt(TimeLimitExceeded)
    stretch.insist()
    assert len(cancelled) == 2
    gate.release()
    caught.wait(10)
    stretch.insist()
    assert len(cancelled) == 2, "those are the queries of finally"
    gate.release()
    thread.join()


def test_an_inline_call_is_never_cancelled():
    assert TaskContext(task_result=None).cancelled is False
