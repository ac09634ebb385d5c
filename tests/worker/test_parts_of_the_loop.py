"""How far ahead a worker claims, from which queue, how long it waits, what wakes it."""

import time as real_time
from threading import Thread

import pytest

from django_bgtasks.bell import Bell
from django_bgtasks.models import Job
from django_bgtasks.store import queues
from django_bgtasks.store.engines.base import Want
from django_bgtasks.worker.lanes import LOOK_INTERVAL, Lanes
from django_bgtasks.worker.pace import HORIZON, LIMIT, MEMORY, Pace
from django_bgtasks.worker.patience import QUICK_WINDOW, Patience
from tests.factories import make_job


def test_nothing_is_claimed_ahead_of_what_is_not_known():
    assert Pace(4).prefetch == 0


@pytest.mark.parametrize(
    ("seconds", "ahead"),
    [(0, LIMIT), (1e-6, LIMIT), (0.001, 200), (0.01, 20), (0.1, 2), (0.3, 0), (60, 0)],
)
def test_as_many_are_claimed_ahead_as_get_done_within_the_horizon(seconds, ahead):
    pace = Pace(4)
    pace.note(10, 10 * seconds)
    assert pace.prefetch == pytest.approx(ahead, abs=1)
    assert ahead in (0, LIMIT) or ahead * seconds / 4 == pytest.approx(HORIZON)


def test_one_long_job_among_short_ones_makes_cautious():
    pace = Pace(1)
    pace.note(100, 0.001)
    assert pace.prefetch == LIMIT
    pace.note(1, 10)
    assert pace.prefetch == 0
    for _ in range(200):
        pace.note(MEMORY, 0.0001)
    assert pace.prefetch == LIMIT


@pytest.mark.django_db
def test_lanes_take_turns(time):
    for queue in ("a", "b", "c"):
        for _ in range(3):
            make_job(queue=queue)
    lanes = Lanes((), time)
    assert not lanes
    lanes.look()
    turns = []
    while (want := lanes.next(1)) is not None:
        jobs = list(Job.objects.ready().filter(queue=want.queue)[:1])
        Job.objects.filter(pk__in=[job.pk for job in jobs]).update(status="RUNNING")
        lanes.note(want, jobs)
        turns += [job.queue for job in jobs]
    assert turns == ["a", "b", "c"] * 3
    assert not lanes


@pytest.mark.django_db
def test_a_turn_is_remembered_when_lanes_look_again(time):
    for queue in ("a", "b", "c"):
        make_job(queue=queue)
    lanes = Lanes((), time)
    lanes.look()
    lanes.note(lanes.next(1), [Job(queue="a")])
    time.advance(LOOK_INTERVAL)
    lanes.look()
    assert [lanes.next(1).queue, lanes.next(1).queue] == ["b", "b"]


@pytest.mark.django_db
def test_a_full_claim_leaves_a_mark_for_a_while(time):
    first, second = make_job(priority=5), make_job(priority=5)
    lanes = Lanes((), time)
    lanes.look()
    lanes.note(lanes.next(1), [first])
    assert lanes.next(1) == Want("default", 1, (5, first.pk))
    lanes.look()
    assert lanes.next(1).after is not None, "looked just now"
    time.advance(LOOK_INTERVAL)
    lanes.look()
    assert lanes.next(1) == Want("default", 1, None)
    lanes.note(lanes.next(1), [second])


def test_nothing_behind_the_mark_makes_it_look_before_it(time):
    lanes = Lanes((), time)
    lanes.add(["default"])
    job = Job()
    lanes.note(lanes.next(1), [job])
    lanes.note(lanes.next(5), [job])
    assert lanes.next(5) == Want("default", 5, None)
    lanes.note(lanes.next(5), [])
    assert lanes.next(5) is None


@pytest.mark.django_db
def test_what_was_just_heard_is_not_asked_again(time, django_assert_num_queries):
    lanes = Lanes((), time)
    time.advance(60)
    lanes.add(["a"])
    with django_assert_num_queries(0):
        lanes.look()
    time.advance(LOOK_INTERVAL)
    lanes.add(["b"])  # others may go on calling
    with django_assert_num_queries(1):
        lanes.look()


def test_only_its_own_queues_are_added(time):
    lanes = Lanes(["a", "b"], time)
    lanes.add(["c", "a"])
    lanes.add(["a"])
    assert lanes.next(1).queue == "a"
    lanes.note(lanes.next(1), [])
    assert not lanes


@pytest.mark.django_db
def test_paused_queues_are_no_lanes(time):
    make_job()
    queues.pause("default")
    lanes = Lanes((), time)
    lanes.look()
    assert not lanes


def test_patience_grows_once_nothing_comes(time):
    patience = Patience(0.01, 0.5, time)
    assert patience.pause == 0.5
    patience.renew()
    for _ in range(3):
        patience.wear()
    assert patience.pause == 0.01, "who called may have called for several"
    time.advance(QUICK_WINDOW)
    pauses = []
    for _ in range(8):
        patience.wear()
        pauses.append(patience.pause)
    assert pauses == [0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5, 0.5]


def test_no_pause_is_longer_than_the_longest(time):
    patience = Patience(0.02, 0.001, time)
    patience.renew()
    assert patience.pause == 0.001


@pytest.fixture
def bell():
    bell = Bell()
    yield bell
    bell.close()


def test_a_bell_ends_the_wait(bell):
    thread = Thread(target=bell.ring)
    thread.start()
    assert bell.wait(30)
    thread.join()
    assert not bell.wait(0)


def test_a_bell_that_rang_before_ends_the_next_wait_once(bell):
    for _ in range(10_000):
        bell.ring()
    assert bell.wait(30)
    assert not bell.wait(0)
    bell.ring()
    assert bell.wait(30)


def test_a_bell_waits_for_something_else_too(bell):
    other = Bell()
    try:
        other.ring()
        began = real_time.monotonic()
        bell.attach(other.reader.fileno())
        assert not bell.wait(30, attached=True)
        assert real_time.monotonic() - began < 10
        bell.attach(None)
        assert not bell.wait(0, attached=True)
    finally:
        other.close()


def test_no_ring_is_lost_between_threads(bell):
    """Each round's ring comes while the round before is being silenced."""
    rounds, seen = 2_000, []
    threads = [
        Thread(target=lambda: [(seen.append(1), bell.ring()) for _ in range(rounds)])
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    while len(seen) < 2 * rounds:
        assert bell.wait(30), "somebody rang, and nobody heard"
    for thread in threads:
        thread.join()


def test_a_closed_bell_is_silent():
    bell = Bell()
    bell.close()
    bell.ring()
