"""How those who wait for a job learn of its end, and what they leave behind."""

import asyncio
import threading
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.utils import timezone

from django_bgtasks.models import Job
from django_bgtasks.store import lifecycle, waiting, watching
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.engines.base import Engine
from django_bgtasks.store.waiting import FIRST_PAUSE, QUICK, WATCHED_PAUSE, Wait
from tests.factories import in_thread, make_finished, make_job
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db(transaction=True)

#: Longer than any test may take: where somebody waits so long, something is broken.
LONG = 15
#: Who gives up after that long has one more look, which finds what nobody called for.
TOO_LONG = 2 * LONG


@pytest.fixture
def only_calls(monkeypatch, only):
    """Everybody listens at once, and nobody looks a second time."""
    only("postgresql")
    monkeypatch.setattr(waiting, "QUICK", 0)
    monkeypatch.setattr(waiting, "WATCHED_PAUSE", 2 * TOO_LONG)
    monkeypatch.setattr(watching, "SHORTEST_PAUSE", 2 * TOO_LONG)
    monkeypatch.setattr(watching, "LONGEST_PAUSE", 2 * TOO_LONG)


@pytest.fixture
def wait(time):
    """Make waits, on the clock that the test moves."""
    made = []

    def make(job, seconds=None, wake=lambda: None):
        wait = Wait(job.pk, None if seconds is None else time() + seconds, wake, time)
        made.append(wait)
        return wait

    yield make
    for wait in made:
        wait.close()
        wait.wait_until_closed()


def eventually(condition):
    """Look again and again, for what comes from another thread sends us no event."""
    pause = threading.Event()
    for _ in range(3000):
        if condition():
            return
        pause.wait(0.005)
    pytest.fail("never came true")


def getting(result):
    """Somebody who waits for ``result`` in a thread; gives what tells the value."""
    values = []

    def get():
        values.append(result.get(timeout=TOO_LONG))

    thread = in_thread(get)

    def value():
        thread.join(LONG)
        assert values, "nobody called"
        return values[0]

    return value


def is_left_behind():
    """Whether there is a connection or a thread of a watch."""
    names = [thread.name for thread in threading.enumerate()]
    if watching._watches or "bgtasks-watch" in names:
        return True
    if connection.vendor != "postgresql":
        return False
    return bool(watching_backends())


_opened = []


@pytest.fixture(autouse=True)
def _note_connections(monkeypatch):
    """Remember which connections watches have opened."""
    if connection.vendor != "postgresql":
        return
    engine = type(get_engine())
    listen = engine.end_listener

    def note(self):
        listener = listen(self)
        _opened.append(self.connection.connection.info.backend_pid)
        return listener

    _opened.clear()
    monkeypatch.setattr(engine, "end_listener", note)


def watching_backends():
    """Connections of watches, as the server knows them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE pid = ANY(%s)", [_opened]
        )
        return [pid for (pid,) in cursor.fetchall()]


# Looking.


def test_looks_are_quick_at_first_and_then_in_proportion(wait, time):
    one = wait(make_job())
    pauses = []
    while time() < QUICK:
        assert one.goes_on()
        pauses.append(one.pause)
        time.advance(one.pause)
    assert pauses[0] == FIRST_PAUSE
    assert pauses == sorted(pauses)
    assert len(pauses) < 30, "not too many"


@pytest.mark.parametrize("portable", [False, True])
def test_pauses_grow_to_a_limit_where_nobody_calls(wait, time, settings, portable):
    settings.BGTASKS = {"LISTEN": False}
    engine = Engine(connection) if portable else get_engine()
    one = wait(make_job())
    time.advance(60)
    assert one.goes_on()
    if not portable:
        assert one.pause == engine.longest_look_pause
    assert not is_left_behind()


def test_a_pause_ends_with_the_time(wait, time):
    one = wait(make_job(), seconds=0.0105)
    for _ in range(20):
        if not one.goes_on():
            break
        time.advance(one.pause)
    assert time() == pytest.approx(0.0105)
    assert not one.has_ended


def test_the_last_look_is_when_the_time_is_over(wait, time):
    job = make_job()
    one = wait(job, seconds=1)
    assert one.goes_on()
    time.advance(2)
    Job.objects.update(status="SUCCESSFUL", finished_at=timezone.now())
    assert not one.goes_on()
    assert one.has_ended


def test_a_job_that_is_no_more_has_ended(wait):
    job = make_job()
    one = wait(job)
    assert one.goes_on()
    Job.objects.all().delete()
    assert not one.goes_on()
    assert one.has_ended


@pytest.mark.parametrize("portable", [False, True])
def test_which_jobs_have_not_ended(portable):
    engine = Engine(connection) if portable else get_engine()
    waiting_one, running = make_job(), make_job(status="RUNNING")
    ended, gone = make_finished("FAILED", timezone.now()), make_job()
    Job.objects.filter(pk=gone.pk).delete()
    ids = [job.pk.hex for job in (waiting_one, running, ended)] + [gone.pk.hex]
    assert engine.unfinished(ids) == {waiting_one.pk.hex, running.pk.hex}


# Being called.


def test_who_waits_longer_joins_a_watch_and_leaves_it(wait, time, only):
    only("postgresql")
    one = wait(make_job())
    assert one.goes_on()
    assert not is_left_behind(), "most jobs are short"
    time.advance(QUICK)
    assert one.goes_on()
    assert one.pause == WATCHED_PAUSE
    eventually(watching_backends)
    one.close()
    one.wait_until_closed()
    eventually(lambda: not is_left_behind())


def test_a_worker_that_has_the_job_calls(only_calls, at_work):
    worker = at_work()
    result = sample.wait_at_gate("it")
    assert sample.started.wait(LONG)
    value = getting(result)
    eventually(lambda: worker._awaited._until)
    sample.gate.set()
    assert value() == "it"
    assert not worker._awaited._until
    assert not watching._watches
    eventually(lambda: not is_left_behind())


def test_a_worker_that_claims_the_job_later_calls(only_calls, at_work, settings):
    settings.BGTASKS = {"POLL_INTERVAL": 0.02}
    worker = at_work()
    result = sample.add.using(run_after=timezone.now() + timedelta(days=1)).enqueue(3)
    value = getting(result)
    eventually(lambda: worker._awaited._until)
    Job.objects.update(run_after=timezone.now())
    assert value() == 3


def test_a_worker_that_starts_later_is_reminded(only_calls, at_work, monkeypatch):
    monkeypatch.setattr(watching, "REMINDER_INTERVAL", 0.02)
    result = sample.wait_at_gate("it")
    value = getting(result)
    eventually(watching_backends)
    worker = at_work()
    eventually(lambda: worker._awaited._until)
    sample.gate.set()
    assert value() == "it"


def test_jobs_that_ended_before_anybody_was_told(only_calls, wait):
    """Between the last look of who waits and the first of the watch."""
    # The second joins a watch that has looked, and would not look again for long.
    for job in make_job(), make_job():
        woken = threading.Event()
        one = wait(job, wake=woken.set)
        Job.objects.update(status="SUCCESSFUL", finished_at=timezone.now())
        one._join("default")
        assert woken.wait(LONG)
        assert not one.goes_on()


def test_a_worker_that_missed_the_announcement(only_calls, wait, monkeypatch):
    """It has settled the job after the first look, and before it heard of it."""
    monkeypatch.setattr(watching, "SHORTEST_PAUSE", 0.02)
    looked = threading.Event()
    unfinished = Engine.unfinished

    def look(self, jobs):
        found = unfinished(self, jobs)
        if self.connection is not connection:
            looked.set()
        return found

    monkeypatch.setattr(Engine, "unfinished", look)
    job = make_job()
    woken = threading.Event()
    one = wait(job, wake=woken.set)
    one._join("default")
    assert looked.wait(LONG)
    Job.objects.update(status="SUCCESSFUL", finished_at=timezone.now())
    assert woken.wait(LONG)


def test_an_atomic_success_is_called_for(only_calls, at_work):
    worker = at_work()
    result = sample.write_a_user_once("ada", "wait")
    value = getting(result)
    eventually(lambda: worker._awaited._until)
    sample.gate.set()
    assert value() == "ada"


def test_an_attempt_that_failed_is_no_end(at_work, monkeypatch):
    monkeypatch.setattr(waiting, "QUICK", 0)
    at_work()
    result = sample.succeed_at(3)
    assert result.get(timeout=LONG) == "done"
    assert result.attempts == 3


def test_many_wait_for_one_and_for_many(only_calls, at_work):
    worker = at_work()
    results = [sample.wait_at_gate(n) for n in range(4)]
    values = [getting(sample.wait_at_gate.get_result(r.id)) for r in results * 3]
    eventually(lambda: len(worker._awaited._until) == len(results))
    assert len(watching_backends()) == 1
    sample.gate.set()
    assert [value() for value in values] == [0, 1, 2, 3] * 3
    eventually(lambda: not is_left_behind())


def test_fifty_wait_on_one_event_loop(only_calls, at_work):
    worker = at_work()
    results = [sample.wait_at_gate(n) for n in range(50)]

    def open_the_gate():
        eventually(lambda: len(worker._awaited._until) == len(results))
        sample.gate.set()

    async def gather():
        async with asyncio.timeout(LONG):
            return await asyncio.gather(*(r.aget(timeout=TOO_LONG) for r in results))

    opener = in_thread(open_the_gate)
    assert async_to_sync(gather)() == list(range(50))
    opener.join()
    eventually(lambda: not is_left_behind())


def test_fifty_short_ones_on_one_event_loop(at_work):
    at_work()
    results = [sample.aadd(n) for n in range(50)]

    async def gather():
        return await asyncio.gather(*(r.aget(timeout=LONG) for r in results))

    assert async_to_sync(gather)() == list(range(50))
    eventually(lambda: not is_left_behind())


def test_where_nobody_may_listen_one_looks(wait, time, settings, only):
    only("postgresql")
    settings.BGTASKS = {"LISTEN": False}
    one = wait(make_job())
    time.advance(QUICK)
    assert one.goes_on()
    assert one.pause < 0.1
    assert not watching._watches


def test_who_loses_the_connection_looks(wait, time, only, caplog):
    only("postgresql")
    woken = threading.Event()
    one = wait(make_job(), wake=woken.set)
    time.advance(QUICK)
    assert one.goes_on()
    eventually(watching_backends)
    woken.clear()
    for pid in watching_backends():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
    assert woken.wait(LONG)
    assert one.goes_on()
    assert one.pause < 0.1
    assert "has to look for its end" in caplog.text
    eventually(lambda: not is_left_behind())


def test_whatever_is_called_harms_no_worker(only, at_work):
    only("postgresql")
    worker = at_work()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify('bgtasks_awaited', 'what? \u00e4 1')")
    eventually(lambda: worker._awaited._until)
    assert sample.add(1).get(timeout=LONG) == 1


def test_more_ids_than_one_notification_holds(only):
    only("postgresql")
    listener = get_engine().end_listener()
    ids = {make_id().hex for _ in range(450)}
    in_thread(lambda: get_engine().tell_ended(ids)).join()
    connection.ensure_connection()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    heard = listener.heard()
    assert len(heard) == 3
    assert {job_id for payload in heard for job_id in payload.split()} == ids


# Giving up.


def test_an_interrupted_wait_leaves_nothing_behind(monkeypatch):
    monkeypatch.setattr(waiting, "QUICK", 0)

    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Wait, "pause", property(interrupt))
    with pytest.raises(KeyboardInterrupt):
        sample.add(1).get()
    eventually(lambda: not is_left_behind())


def test_a_timeout_leaves_nothing_behind(monkeypatch):
    monkeypatch.setattr(waiting, "QUICK", 0)
    with pytest.raises(TimeoutError):
        sample.add(1).get(timeout=0.01)
    eventually(lambda: not is_left_behind())


def test_who_gives_up_does_not_wait_for_the_server(only, monkeypatch):
    only("postgresql")
    monkeypatch.setattr(waiting, "QUICK", 0)
    monkeypatch.setattr(watching, "CLOSING_TIME", 0.01)
    answer, came_in_time = threading.Event(), []
    engine = type(get_engine())
    listen = engine.end_listener

    def listen_late(self):
        came_in_time.append(answer.wait(LONG))
        return listen(self)

    monkeypatch.setattr(engine, "end_listener", listen_late)
    with pytest.raises(TimeoutError):
        sample.add(1).get(timeout=0.01)
    answer.set()
    eventually(lambda: not is_left_behind())
    assert came_in_time == [True]


def test_a_cancelled_wait_leaves_nothing_behind(monkeypatch):
    monkeypatch.setattr(waiting, "QUICK", 0)
    result = sample.add(1)

    async def cancel():
        asked = asyncio.Event()
        goes_on = Wait.goes_on

        def note(self):
            loop.call_soon_threadsafe(asked.set)
            return goes_on(self)

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(Wait, "goes_on", note)
        task = asyncio.create_task(result.aget())
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async_to_sync(cancel)()
    eventually(lambda: not is_left_behind())


def test_who_has_given_up_does_not_join(wait, only):
    """A look can still be under way in its thread."""
    only("postgresql")
    one = wait(make_job())
    one.close()
    one._join("default")
    assert not watching._watches


def test_a_process_that_was_forked_begins_anew(wait, time, only, monkeypatch):
    only("postgresql")
    monkeypatch.setattr(watching, "_inherited", [])
    parents = wait(make_job())
    time.advance(QUICK)
    assert parents.goes_on()
    of_parent, lock = dict(watching._watches), watching._lock
    watching._begin_anew()
    try:
        childs = wait(make_job())
        time.advance(QUICK)
        assert childs.goes_on()
        assert watching._watches["default"] is not of_parent["default"]
        childs.close()
        childs.wait_until_closed()
        assert not of_parent["default"].is_over
    finally:
        watching._lock, watching._watches = lock, of_parent


def make_id():
    return lifecycle.new_id()
