"""What workers count of the runs that end."""

import logging
import random
from datetime import timedelta
from itertools import pairwise

import pytest
from django.conf import settings
from django.db import OperationalError
from django.test import override_settings
from django.utils import timezone

from django_bgtasks.models import Job, Tally
from django_bgtasks.models.job import new_id
from django_bgtasks.models.tally import COUNTS
from django_bgtasks.outcomes import Error, Failed, Released, Succeeded
from django_bgtasks.store import queues, tallies
from django_bgtasks.store.engines.base import Want
from django_bgtasks.worker import tallying
from django_bgtasks.worker.chores import SAMPLE_INTERVAL, Chores
from django_bgtasks.worker.clock import Clock
from django_bgtasks.worker.options import WorkerOptions
from django_bgtasks.worker.rescue import rescue_lost
from django_bgtasks.worker.settling import Settler
from django_bgtasks.worker.tallying import WRITE_INTERVAL, Tallier
from django_bgtasks.worker.worker import Worker
from tests.factories import living_worker, make_job, make_running
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db(transaction=True)

NOW = timezone.now().replace(second=30, microsecond=0)
SECOND = timedelta(seconds=1)
ERROR = Error("builtins.ValueError", "ValueError", "...")


@pytest.fixture
def tallier(time):
    return Tallier(time)


@pytest.fixture
def settler(time):
    clock = Clock(lambda: NOW, time)
    clock.sync()
    return Settler(new_id(), clock)


def total():
    return Tally.sum_of(Tally.objects.all(), "", NOW, 1)


def counts():
    """What is counted in rows, without what is 0."""
    tally = total()
    return {name: getattr(tally, name) for name in COUNTS if getattr(tally, name)}


def a_run(waited=SECOND, seconds=0.5, outcome=None, **columns):
    columns = {"queue": "default", "attempt": 1, **columns}
    job = Job(enqueued_at=NOW - waited, started_at=NOW, **columns)
    return job, outcome or Succeeded(), seconds


@pytest.mark.parametrize(
    ("task", "args", "expected"),
    [
        (sample.add, (1,), {"successful": 1}),
        (sample.aadd, (1,), {"successful": 1}),
        (sample.write_a_user_once, ("ada",), {"successful": 1}),
        (sample.fail_for_good, (), {"failed": 1}),
        (sample.return_no_json, (), {"failed": 1}),
        (sample.fail_slowly, (), {"retried": 1}),
        (sample.cancel_itself, (), {"cancelled": 1}),
        (sample.snooze_for_a_minute, (), {}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_runs_are_counted_by_how_they_ended(worker, until, time, task, args, expected):
    task(*args)
    begun = Job.objects.filter(status__in=("READY", "RUNNING"))
    # An atomic run is in its row before the worker hears of it.
    until(lambda: not (begun.exists() or worker._running))
    assert counts() == {}
    time.advance(WRITE_INTERVAL)
    worker.tick()
    assert counts() == expected
    assert sum(total().runs.values()) == len(expected)
    assert sum(total().waits.values()) == len(expected.keys() - {"retried"})


def test_the_last_ones_are_written_at_the_end(drain):
    for queue in ("a", "b", "a"):
        sample.add.using(queue_name=queue).enqueue(1)
    drain()
    assert dict(Tally.objects.values_list("queue", "successful")) == {"a": 2, "b": 1}


def test_what_was_lost_to_another_worker_is_not_counted(settler):
    for settle in (settler.settle, lambda: settler.settle_and_claim(Want("x", 1))):
        kept, lost = (make_running(settler._worker) for _ in range(2))
        Job.objects.filter(pk=lost.pk).update(run_token=99)
        settler.add(kept, Succeeded())
        settler.add(lost, Succeeded())
        settle()
    settler.tallier.write()
    assert counts() == {"successful": 2}


def test_what_cannot_be_stored_is_counted_as_what_it_becomes(settler, monkeypatch):
    job = make_running(settler._worker)
    settler.add(job, Succeeded(object()), 0.25)
    settler.settle()
    settler.tallier.write()
    assert counts() == {"failed": 1}
    assert total().run_seconds == 0.25


def test_a_failure_of_what_was_cancelled_is_no_retry(settler):
    job = make_running(settler._worker, cancel_requested_at=NOW)
    settler.add(job, Failed(ERROR, timedelta(0)))
    settler.settle()
    settler.tallier.write()
    assert counts() == {"cancelled": 1}


def test_what_is_handed_back_counts_nothing(settler):
    settler.add(make_running(settler._worker), Released())
    settler.add(make_running(settler._worker, cancel_requested_at=NOW), Released())
    settler.settle()
    assert not settler
    settler.tallier.write()
    assert not Tally.objects.exists()


def test_what_a_lost_worker_ran_is_counted_by_who_finds_it(settler):
    lost = living_worker(heartbeat_at=NOW - timedelta(days=1))
    make_running(lost.pk, max_attempts=1)
    make_running(lost.pk)
    rescue_lost(settler._clock)
    assert counts() == {"failed": 1, "retried": 1}


def test_times_are_counted_in_powers_of_two_microseconds(tallier):
    rng = random.Random(7)  # noqa: S311 (the same ones each time)
    waits = [0, 1, 2, 3, 4, 10**15, *(rng.randrange(2 ** (n % 50)) for n in range(99))]
    runs = [a_run(timedelta(microseconds=wait), wait / 1e6) for wait in waits]
    tallier.count(runs[:50], NOW)
    tallier.count(runs[50:], NOW)
    tallier.write()
    expected = {}
    for wait in waits:
        bucket = str(wait.bit_length())
        expected[bucket] = expected.get(bucket, 0) + 1
    tally = Tally.objects.get()
    assert tally.waits == tally.runs == expected
    assert tally.wait_seconds == pytest.approx(sum(waits) / 1e6)
    assert tally.run_seconds == pytest.approx(sum(waits) / 1e6)


@pytest.mark.parametrize(
    ("columns", "waits"),
    [
        ({}, [10.0]),
        ({"run_after": NOW - 2 * SECOND}, [2.0]),
        # Asked for in the past: nobody could run it before it was there.
        ({"run_after": NOW - 99 * SECOND}, [10.0]),
        ({"run_after": NOW - 2 * SECOND, "attempt": 2}, [2.0]),
        # Somebody has retried it, nobody knows when.
        ({"attempt": 2}, []),
        # By the clock of a host that is ahead.
        ({"waited": -SECOND}, [0.0]),
    ],
)
def test_a_job_waits_from_when_it_could_run(tallier, columns, waits):
    tallier.count([a_run(**{"waited": 10 * SECOND, **columns})], NOW)
    tallier.write()
    tally = Tally.objects.get()
    assert tally.wait_seconds == sum(waits)
    assert sum(tally.waits.values()) == len(waits)
    assert sum(tally.runs.values()) == 1


def test_each_minute_and_each_queue_has_its_own_row(tallier):
    tallier.count([a_run(), a_run(queue="mail"), a_run()], NOW)
    tallier.count([a_run()], NOW + 29 * SECOND)
    tallier.count([a_run()], NOW + 30 * SECOND)
    assert len(tallier) == 3
    tallier.write()
    minute = NOW.replace(second=0)
    rows = Tally.objects.values_list("queue", "minute", "span", "successful")
    assert set(rows) == {
        ("default", minute, 1, 3),
        ("mail", minute, 1, 1),
        ("default", minute + timedelta(minutes=1), 1, 1),
    }


def test_they_are_written_now_and_then(tallier, time, django_assert_num_queries):
    tallier.count([a_run()], NOW)
    with django_assert_num_queries(0):
        time.advance(WRITE_INTERVAL - 1)
        tallier.write_if_due()
    time.advance(1)
    tallier.write_if_due()
    assert counts() == {"successful": 1}
    with django_assert_num_queries(0):
        time.advance(WRITE_INTERVAL)
        tallier.write_if_due()


def test_an_idle_worker_comes_back_to_write(time):
    clock = Clock(lambda: NOW, time)
    with override_settings(BGTASKS={**settings.BGTASKS, "POLL_INTERVAL": 3600}):
        worker = Worker(WorkerOptions(), clock)
        with worker._ears:
            worker.start()
            worker.tick()
            time.advance(WRITE_INTERVAL - 0.25)
            worker.tick()
            assert worker._pause(None) > 0.25
            worker._tallier.count([a_run()], NOW)
            assert worker._pause(None) == 0.25
            worker.stop()
            worker.shut_down()
            worker.close()


def test_trouble_holds_up_no_job_and_loses_no_number(
    worker, until, time, monkeypatch, caplog
):
    def fail(rows):
        raise OperationalError("not today")

    sample.add(1)
    until(lambda: Job.objects.successful().count() == 1)
    with monkeypatch.context() as patch:
        patch.setattr(tallies, "write", fail)
        time.advance(WRITE_INTERVAL)
        with caplog.at_level(logging.WARNING, "django_bgtasks"):
            worker.tick()
    assert "not written, and kept for now: not today" in caplog.text
    sample.add(1)
    until(lambda: Job.objects.successful().count() == 2)
    time.advance(WRITE_INTERVAL)
    worker.tick()
    assert counts() == {"successful": 2}


def test_a_write_whose_answer_was_lost_counts_once(tallier, monkeypatch):
    write = tallies.write

    def write_and_break(rows):
        write(rows)
        raise OperationalError("server closed the connection")

    tallier.count([a_run()], NOW)
    with monkeypatch.context() as patch:
        patch.setattr(tallies, "write", write_and_break)
        tallier.write()
    tallier.count([a_run()], NOW)
    tallier.write()
    assert counts() == {"successful": 2}


def test_memory_has_an_end(tallier, monkeypatch):
    def fail(rows):
        raise OperationalError("gone")

    monkeypatch.setattr(tallying, "LIMIT", 2)
    for n in range(4):
        tallier.count([a_run()], NOW + timedelta(minutes=n))
    assert len(tallier) == 4, "as long as the database takes them, none is dropped"
    with monkeypatch.context() as patch:
        patch.setattr(tallying.tallies, "write", fail)
        tallier.write()
    assert len(tallier) == 2
    tallier.write()
    minutes = Tally.objects.order_by("minute").values_list("minute", flat=True)
    assert [minute - NOW.replace(second=0) for minute in minutes] == [
        timedelta(minutes=2),
        timedelta(minutes=3),
    ]


# -- how many wait


def samples():
    rows = Tally.objects.filter(waiting__isnull=False).order_by("queue")
    return list(rows.values_list("queue", "waiting"))


def test_a_worker_looks_each_minute_how_many_jobs_wait(worker, time):
    make_job(queue="paused")
    queues.pause("paused")
    time.advance(SAMPLE_INTERVAL - 1)
    worker.tick()
    assert samples() == []
    time.advance(1)
    worker.tick()
    assert samples() == [("", 1), ("paused", 1)]
    assert worker._chores.rest <= SAMPLE_INTERVAL


def test_numbers_that_cannot_be_written_stop_nobody(worker, time, monkeypatch, caplog):
    def fail(now):
        raise OperationalError("not today")

    monkeypatch.setattr(tallies, "sample_waiting", fail)
    time.advance(SAMPLE_INTERVAL)
    with caplog.at_level(logging.WARNING, "django_bgtasks"):
        worker.tick()
    assert "How many jobs wait is not written: not today" in caplog.text


@pytest.mark.parametrize("second", [0, 31, 59])
def test_no_minute_is_left_out(second, time, monkeypatch):
    """However late within its minute a worker starts, and however long ticks take."""
    start = NOW.replace(second=second)
    seen = []
    monkeypatch.setattr(tallies, "sample_waiting", seen.append)
    clock = Clock(lambda: start + timedelta(seconds=time()), time)
    clock.sync()
    chores = Chores(new_id(), clock, schedules=False)
    for _ in range(10 * 60):
        time.advance(0.7)
        chores.do_what_is_due(stopping=False)
    minutes = [moment.replace(second=0, microsecond=0) for moment in seen]
    steps = {later - earlier for earlier, later in pairwise(minutes)}
    assert steps == {timedelta(minutes=1)}
    assert len(minutes) >= 5
