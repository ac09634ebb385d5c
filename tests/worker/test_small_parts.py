import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings

from django_bgtasks.exceptions import TimeLimitExceeded
from django_bgtasks.models.job import new_id
from django_bgtasks.outcomes import (
    PATH_LIMIT,
    SUMMARY_LIMIT,
    TRACEBACK_LIMIT,
    Error,
)
from django_bgtasks.worker.chores import Chores
from django_bgtasks.worker.clock import Clock
from django_bgtasks.worker.event_loop import EventLoop
from django_bgtasks.worker.interrupt import Interruptible
from django_bgtasks.worker.timer import Timer
from tests.factories import make_job

pytestmark = pytest.mark.once

#: As databases tell the time here.
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC if settings.USE_TZ else None)


def test_the_clock_goes_on_from_what_the_database_said(time):
    answers = iter([NOON, NOON + timedelta(hours=1)])
    clock = Clock(lambda: next(answers), time)
    clock.sync()
    time.advance(2.5)
    assert clock.now() == NOON + timedelta(seconds=2.5)
    clock.sync()
    assert clock.now() == NOON + timedelta(hours=1)


def test_the_clock_keeps_its_time_when_the_database_does_not_answer(time):
    answers = iter([NOON])
    clock = Clock(lambda: next(answers), time)
    clock.sync()
    time.advance(60)
    with pytest.raises(StopIteration):
        clock.sync()
    assert clock.now() == NOON + timedelta(seconds=60)


def test_a_timer_rings_once_an_interval(time):
    timer = Timer(10, time)
    assert [timer.is_due(), timer.is_due()] == [True, False]
    time.advance(9.9)
    assert not timer.is_due()
    time.advance(0.1)
    assert timer.is_due()
    timer.make_due_in(2)
    timer.make_due_in(5)
    assert timer.rest == 2
    time.advance(2)
    assert timer.is_due()


def test_a_timer_that_rests_first(time):
    timer = Timer(10, time, rest_first=True)
    assert not timer.is_due()
    time.advance(10)
    assert timer.is_due()


@pytest.mark.django_db
def test_nothing_due_costs_one_query(time, django_assert_num_queries):
    make_job(status="SCHEDULED", run_after=NOON + timedelta(seconds=0.25))
    clock = Clock(lambda: NOON, time)
    clock.sync()
    chores = Chores(new_id(), clock, schedules=False)
    chores.do_what_is_due(stopping=False)
    assert chores.rest == 0.25
    with django_assert_num_queries(1):
        assert chores.promote() == 0
    time.advance(0.25)
    assert chores.promote() == 1


def test_an_interruption_arrives_inside_and_unwinds():
    stretch, inside, seen = Interruptible(), threading.Event(), []

    def body():
        try:
            with stretch:
                try:
                    while True:
                        inside.set()
                except Exception:  # noqa: BLE001 (what careless tasks do)
                    seen.append("swallowed")
                finally:
                    seen.append("unwound")
        except TimeLimitExceeded:
            seen.append("raised")

    thread = threading.Thread(target=body)
    thread.start()
    inside.wait()
    stretch.interrupt(TimeLimitExceeded)
    thread.join(10)
    assert seen == ["unwound", "raised"]


def test_an_interruption_that_has_not_arrived_in_time_is_taken_back():
    stretch, inside, go_on, seen = (
        Interruptible(),
        threading.Event(),
        threading.Event(),
        [],
    )

    def body():
        stretch.__enter__()
        try:
            inside.set()
            go_on.wait(10)
            seen.append("undisturbed")
        except TimeLimitExceeded:
            seen.append("too late")

    thread = threading.Thread(target=body)
    thread.start()
    inside.wait()
    # The thread waits inside C, where nothing arrives before it comes back.
    stretch.interrupt(TimeLimitExceeded)
    stretch.__exit__(None, None, None)
    go_on.set()
    thread.join(10)
    assert seen == ["undisturbed"]


def test_an_interruption_never_arrives_outside():
    stretch = Interruptible()
    stretch.interrupt(TimeLimitExceeded)
    with stretch:
        pass
    stretch.interrupt(TimeLimitExceeded)
    for _ in range(1000):
        with stretch:
            pass


def _raise(error):
    try:
        raise error
    except type(error) as raised:
        return Error.from_exception(raised)


def test_an_error_as_text():
    error = _raise(ValueError("no\nsecond line"))
    assert error.exception_class_path == "builtins.ValueError"
    assert error.summary == "ValueError: no second line"
    assert error.traceback.startswith("Traceback (most recent call last)")


def test_a_class_with_a_very_long_name():
    error = _raise(type("E" * 300, (Exception,), {})("no"))
    assert len(error.exception_class_path) <= PATH_LIMIT
    assert "characters left out" in error.exception_class_path


def test_an_error_is_bounded_and_storable():
    error = _raise(ValueError("\x00 \ud800 " + "x" * 100_000))
    assert len(error.summary) <= SUMMARY_LIMIT
    assert len(error.traceback) <= TRACEBACK_LIMIT
    assert "characters left out" in error.traceback
    assert "\x00" not in error.traceback
    error.traceback.encode()


def test_a_thread_is_not_bound_to_the_event_loop_that_it_served():
    """What it runs later must not wait for a loop that has gone."""

    async def running_loop():
        await sync_to_async(int)()
        return asyncio.get_running_loop()

    event_loop = EventLoop()
    try:
        served = event_loop.run(running_loop())
        assert async_to_sync(running_loop)() is not served
    finally:
        event_loop.close()
