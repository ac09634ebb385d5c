"""Tallies: rolled up without changing what they say, and read as figures."""

from datetime import datetime, timedelta
from threading import Barrier

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from django_bgtasks.housekeeping import roll_up
from django_bgtasks.models import Job, Tally
from django_bgtasks.models.tally import COUNTS
from django_bgtasks.store import queues, stats, tallies
from tests.factories import in_thread, make_job, make_jobs, make_running

pytestmark = pytest.mark.django_db

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

NOON = datetime(2030, 5, 1, 12)
if timezone.is_aware(timezone.now()):
    NOON = NOON.replace(tzinfo=timezone.get_fixed_timezone(0))


def tally(minute, queue="mail", **columns):
    columns = {
        "successful": 1,
        "wait_seconds": 0.25,
        "run_seconds": 0.5,
        "waits": {"18": 1},
        "runs": {"19": 1},
        **columns,
    }
    return Tally.objects.create(queue=queue, minute=minute, **columns)


def times():
    """Queue, minutes since noon, span and successes of all rows."""
    rows = Tally.objects.order_by("queue", "minute", "span")
    return [(r.queue, (r.minute - NOON) / MINUTE, r.span, r.successful) for r in rows]


def sums():
    total = Tally.sum_of(Tally.objects.all(), "", NOON, 1)
    counts = [getattr(total, name) for name in COUNTS]
    return [*counts, total.wait_seconds, total.run_seconds, total.waits, total.runs]


def roll_up_all(now, limit=tallies.BATCH):
    while tallies.roll_up(now, limit):
        pass


def test_what_several_workers_wrote_of_a_minute_becomes_one_row():
    for queue in ("mail", "mail", "slow", "mail"):
        tally(NOON, queue, failed=2, cancelled=3, retried=4, runs={"1": 5, "2": 6})
    before = sums()
    assert tallies.roll_up(NOON + 6 * MINUTE) == 3
    assert times() == [("mail", 0, 1, 3), ("slow", 0, 1, 1)]
    assert sums() == before
    assert tallies.roll_up(NOON + 6 * MINUTE) == 0


def test_a_minute_that_may_still_grow_is_left_alone():
    tally(NOON)
    tally(NOON)
    assert tallies.roll_up(NOON + 5 * MINUTE) == 0


def test_old_minutes_become_hours():
    for minutes in (0, 1, 59, 60, 119, 120):
        tally(NOON + minutes * MINUTE)
    tally(NOON + 7 * MINUTE, "slow")
    before = sums()
    roll_up_all(NOON + 2 * HOUR + 2 * DAY)
    assert times() == [
        ("mail", 0, 60, 3),
        ("mail", 60, 60, 2),
        ("mail", 120, 15, 1),
        ("slow", 0, 60, 1),
    ]
    assert sums() == before


def test_minutes_become_quarters_before():
    for minutes in (0, 14, 15, 30):
        tally(NOON + minutes * MINUTE)
    before = sums()
    roll_up_all(NOON + 3 * HOUR + 30 * MINUTE)
    assert times() == [("mail", 0, 15, 2), ("mail", 15, 15, 1), ("mail", 30, 1, 1)]
    assert sums() == before


def test_a_quarter_or_an_hour_is_merged_when_all_of_it_is_old():
    tally(NOON)
    assert tallies.roll_up(NOON + 14 * MINUTE + 3 * HOUR) == 0
    assert tallies.roll_up(NOON + 15 * MINUTE + 3 * HOUR) == 1
    assert tallies.roll_up(NOON + 59 * MINUTE + 2 * DAY) == 0
    assert tallies.roll_up(NOON + 60 * MINUTE + 2 * DAY) == 1


def test_what_comes_late_is_added_to_its_hour():
    tally(NOON)
    roll_up_all(NOON + 3 * DAY)
    tally(NOON + MINUTE)
    roll_up_all(NOON + 3 * DAY)
    assert times() == [("mail", 0, 60, 2)]


def test_very_old_hours_are_forgotten():
    tally(NOON - HOUR, span=60)
    tally(NOON, span=60)
    assert tallies.roll_up(NOON + 90 * DAY) == 1
    assert times() == [("mail", 0, 60, 1)]


def test_it_goes_on_in_small_steps_until_all_is_done():
    for minute in range(5):
        for _ in range(2):
            tally(NOON + minute * MINUTE)
            tally(NOON + minute * MINUTE - 3 * DAY, "old")
            tally(NOON + minute * MINUTE - 99 * DAY, "ancient")
    roll_up_all(NOON + HOUR, limit=2)
    assert times() == [
        *(("mail", minute, 1, 2) for minute in range(5)),
        ("old", -3 * DAY / MINUTE, 60, 10),
    ]


def test_our_own_job_does_it():
    minute = (timezone.now() - HOUR).replace(second=0, microsecond=0)
    tally(minute)
    assert roll_up.func() == 0
    tally(minute)
    assert roll_up.func() == 2
    assert roll_up.periodic["every"] == HOUR


class Killer:
    """Lets some statements pass, and then no more."""

    def __init__(self, statements):
        self.left = statements

    def __call__(self, execute, sql, params, many, context):
        if not self.left:
            raise OperationalError("killed")
        self.left -= 1
        return execute(sql, params, many, context)


@pytest.mark.django_db(transaction=True)
def test_killed_before_any_of_its_statements_it_changes_nothing():
    for statements in range(99):
        Tally.objects.all().delete()
        for minute in (0, 0, 1, 1, 2):
            tally(NOON + minute * MINUTE)
        before = sums()
        try:
            with connection.execute_wrapper(Killer(statements)):
                roll_up_all(NOON + 3 * DAY)
        except OperationalError:
            assert sums() == before
        else:
            break
    assert statements > 12
    assert times() == [("mail", 0, 60, 5)]
    assert sums() == before


@pytest.mark.django_db(transaction=True)
def test_two_at_once_change_nothing():
    for minute in range(20):
        for _ in range(3):
            tally(NOON + minute * MINUTE)
            tally(NOON + minute * MINUTE - 3 * DAY)
    before, barrier = sums(), Barrier(2)

    def work():
        barrier.wait()
        roll_up_all(NOON + HOUR)

    threads = [in_thread(work), in_thread(work)]
    for thread in threads:
        thread.join()
    assert sums() == before
    assert len(times()) == 20 + 1


def test_a_summary_by_queue(django_assert_num_queries):
    tally(NOON, successful=6, failed=2)
    tally(NOON + MINUTE, successful=0, cancelled=4, retried=3, wait_seconds=1)
    tally(NOON, "slow")
    tally(NOON - MINUTE, failed=99)
    tally(NOON + 10 * MINUTE, failed=99)
    with django_assert_num_queries(1):
        mail, slow = stats.summary(NOON, NOON + 10 * MINUTE)
    assert (mail.queue, mail.begin, mail.minutes) == ("mail", NOON, 10)
    assert (mail.successful, mail.failed) == (6, 2)
    assert (mail.cancelled, mail.retried, mail.finished) == (4, 3, 12)
    assert (mail.failure_rate, mail.per_minute) == (0.25, 1.2)
    assert (mail.wait.mean, mail.run.mean) == (0.625, 0.5)
    assert (slow.queue, slow.finished, slow.failure_rate) == ("slow", 1, 0)


def test_times_are_estimated_within_their_bucket():
    # 10 below 1 µs, 60 from 2 to 4 µs, 30 from 1024 to 2048 µs
    tally(NOON, waits={"0": 10, "11": 30, "2": 60}, runs={"1": 2})
    (figures,) = stats.summary(NOON, NOON + MINUTE)
    assert figures.wait.median == pytest.approx((2 + 2 * 40 / 60) / 1e6)
    assert figures.wait.p95 == pytest.approx((1024 + 1024 * 25 / 30) / 1e6)
    assert figures.run.median == pytest.approx(1.5e-6)


def test_what_was_not_counted_is_not_known():
    tally(NOON, successful=0, retried=1, wait_seconds=0, waits={})
    (figures,) = stats.summary(NOON, NOON + MINUTE)
    assert figures.wait == stats.Times(mean=None, median=None, p95=None)
    assert figures.failure_rate is None
    assert stats.summary(NOON + MINUTE, NOON + HOUR) == []


def test_a_series_has_a_point_for_every_step(django_assert_num_queries):
    for minute, queue in ((0, "mail"), (4, "slow"), (4, "mail"), (10, "mail")):
        tally(NOON + minute * MINUTE, queue)
    tally(NOON - MINUTE)
    tally(NOON + 12 * MINUTE)
    with django_assert_num_queries(1):
        points = stats.series(NOON, NOON + 12 * MINUTE, 5 * MINUTE)
    assert [(p.begin - NOON) / MINUTE for p in points] == [0, 5, 10]
    assert [(p.queue, p.finished, p.minutes) for p in points] == [
        ("", 3, 5),
        ("", 0, 5),
        ("", 1, 2),
    ]
    assert points[1].run.median is None
    with django_assert_num_queries(1):
        points = stats.series(NOON, NOON + 12 * MINUTE, 5 * MINUTE, queue="slow")
    assert [(p.queue, p.finished) for p in points] == [
        ("slow", 1),
        ("slow", 0),
        ("slow", 0),
    ]


# -- how many wait


def waiting_of(queue=None, minutes=3):
    points = stats.series(NOON, NOON + minutes * MINUTE, MINUTE, queue)
    return [point.waiting for point in points]


def test_who_looks_writes_how_many_wait():
    make_jobs(3, queue="mail")
    make_jobs(2, queue="slow")
    make_job(queue="later", status="SCHEDULED", run_after=NOON + HOUR)
    make_running(queue="mail")
    assert tallies.sample_waiting(NOON + 7 * SECOND)
    Job.objects.filter(queue="mail").delete()
    assert tallies.sample_waiting(NOON + MINUTE)
    assert waiting_of() == [5, 2, None]
    assert waiting_of("mail") == [3, 0, None], "none are left, by a look"
    assert waiting_of("slow") == [2, 2, None]
    assert waiting_of("later") == [0, 0, None]
    (mail, slow) = stats.summary(NOON, NOON + HOUR)
    assert [(f.queue, f.waiting, f.finished) for f in (mail, slow)] == [
        ("mail", 3, 0),
        ("slow", 2, 0),
    ]


def test_one_look_a_minute_is_enough(django_assert_num_queries):
    tally(NOON, "mail")
    assert tallies.sample_waiting(NOON)
    with django_assert_num_queries(1):
        assert not tallies.sample_waiting(NOON + 59 * SECOND)
    assert tallies.sample_waiting(NOON + 60 * SECOND)


def test_jobs_of_a_paused_queue_wait_too():
    make_jobs(2, queue="mail")
    queues.pause("mail", NOON)
    tallies.sample_waiting(NOON)
    assert waiting_of("mail", 1) == waiting_of(None, 1) == [2]


def test_a_look_counts_up_to_a_limit(monkeypatch):
    monkeypatch.setattr(tallies, "WAITING_LIMIT", 2)
    make_jobs(3, queue="mail")
    tallies.sample_waiting(NOON)
    assert waiting_of("mail", 1) == [2]


@pytest.mark.parametrize("count", [0, 1, 40])
def test_a_look_at_many_queues_takes_no_more_queries(count, django_assert_num_queries):
    make_jobs(count, queue_of=lambda n: f"q{n}")
    # Whether somebody has looked; which queues there are, which are paused; how many
    # wait, if any; the rows.
    with django_assert_num_queries(5 if count else 4):
        tallies.sample_waiting(NOON)


def test_what_waited_together_is_not_added_up_over_time():
    """Two queues that were long one after the other were never so together."""
    for minute, mail, slow in ((0, 9, 1), (1, 1, 9), (2, 2, 2)):
        for queue, waiting in (("mail", mail), ("slow", slow), ("", mail + slow)):
            tally(NOON + minute * MINUTE, queue, waiting=waiting)
    tally(NOON, "mail")

    def most():
        (point,) = stats.series(NOON, NOON + HOUR, HOUR)
        by_queue = {f.queue: f.waiting for f in stats.summary(NOON, NOON + HOUR)}
        return point.waiting, by_queue

    expected = (10, {"mail": 9, "slow": 9})
    assert most() == expected
    roll_up_all(NOON + DAY)
    assert {span for _, _, span, _ in times()} == {15}
    assert most() == expected
    roll_up_all(NOON + 3 * DAY)
    assert {span for _, _, span, _ in times()} == {60}
    assert most() == expected


# -- all at once


def test_a_report_says_what_summary_and_series_say(django_assert_num_queries):
    for minute, queue in ((0, "mail"), (4, "slow"), (4, "mail"), (10, "mail")):
        tally(NOON + minute * MINUTE, queue, failed=minute)
    tallies.sample_waiting(NOON + MINUTE)
    time = (NOON, NOON + 12 * MINUTE)
    for queue in (None, "mail", "nothing"):
        with django_assert_num_queries(1):
            report = stats.report(*time, 5 * MINUTE, queue)
        assert list(report.queues) == stats.summary(*time)
        assert list(report.steps) == stats.series(*time, 5 * MINUTE, queue)
        assert [report.total] == stats.series(*time, HOUR, queue)
    assert report.finished["mail"] == (1 + 1 + 4, 0, 1 + 10)


def test_totals_are_of_all_queues():
    assert stats.totals(NOON, NOON + HOUR)["failed"] == 0
    tally(NOON, "mail", failed=2)
    tally(NOON + MINUTE, "slow", retried=3)
    tally(NOON + HOUR, "slow")
    assert stats.totals(NOON, NOON + HOUR) == {
        "successful": 2,
        "failed": 2,
        "cancelled": 0,
        "retried": 3,
    }
