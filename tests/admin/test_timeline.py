"""The life of jobs as values; no row is read."""

from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings

from django_bgtasks.admin.timeline import timeline
from django_bgtasks.models import Attempt, Job
from django_bgtasks.models.job import new_id

pytestmark = pytest.mark.once

#: The second in which all of these jobs are enqueued.
START = datetime(2026, 1, 1, tzinfo=UTC if settings.USE_TZ else None)


def at(seconds):
    return START + timedelta(seconds=seconds)


def job(status, **columns):
    columns = {
        "attempt": 1,
        "max_attempts": 3,
        "enqueued_at": START,
        "cancel_requested_by": "",
        **columns,
    }
    return Job(task="shop.send", queue="default", status=status, **columns)


def attempt(number, start, end, ending="FAILED"):
    return Attempt(
        number=number,
        ending=ending,
        started_at=at(start),
        finished_at=at(end),
        exception_class_path="shop.No",
    )


def told(*args, now=1000, **kwargs):
    """Each event as: wait | second | text [ending] span (note)."""
    return [_line(event) for event in timeline(*args, now=at(now), **kwargs)]


def _line(event):
    second = "-" if event.at is None else f"{(event.at - START).total_seconds():g}"
    ending = f" [{event.ending}]" if event.ending else ""
    span = f" {event.span}" if event.span else ""
    note = f" ({event.note})" if event.note else ""
    return f"{event.wait} | {second} | {event.text}{ending}{span}{note}"


def test_one_that_went_well():
    row = job("SUCCESSFUL", started_at=at(3), finished_at=at(67))
    assert told(row, []) == [
        " | 0 | Enqueued",
        "waited 3.0 s | 3 | Attempt 1 [SUCCESSFUL] ran 1 min 4 s",
        " | 67 | Finished [SUCCESSFUL] 1 min 7 s after it was enqueued",
    ]


def test_one_that_failed_and_was_tried_again():
    row = job(
        "FAILED", attempt=2, run_after=at(30), started_at=at(31), finished_at=at(35)
    )
    assert told(row, [attempt(1, 2, 10), attempt(2, 31, 35, "TIMED_OUT")]) == [
        " | 0 | Enqueued",
        "waited 2.0 s | 2 | Attempt 1 [FAILED] ran 8.0 s (shop.No)",
        "waited 20.0 s | 30 | Due",
        "waited 1.0 s | 31 | Attempt 2 [TIMED_OUT] ran 4.0 s (shop.No)",
        " | 35 | Finished [FAILED] 35.0 s after it was enqueued",
    ]


def test_one_that_waits_for_its_time():
    row = job("SCHEDULED", attempt=0, run_after=at(300))
    assert told(row, [], now=60) == [
        " | 0 | Enqueued",
        " | 300 | Due in 4 min",
    ]


@pytest.mark.parametrize("status", ["READY", "SCHEDULED"])
def test_one_that_waits_for_a_worker(status):
    row = job(status, attempt=0, run_after=at(10))
    assert told(row, [], now=25) == [
        " | 0 | Enqueued",
        "waited 10.0 s | 10 | Due",
        "waited 15.0 s | - | Waits for a worker",
    ]


def test_one_that_runs():
    row = job("RUNNING", started_at=at(5), cancel_requested_at=at(8))
    assert told(row, [], now=10) == [
        " | 0 | Enqueued",
        "waited 5.0 s | 5 | Attempt 1 [RUNNING] running for 5.0 s",
        " | 8 | Asked to stop",
    ]


def test_one_that_was_stopped():
    row = job(
        "CANCELLED",
        started_at=at(5),
        finished_at=at(9),
        cancel_requested_at=at(8),
        cancel_requested_by="ada",
    )
    assert told(row, [attempt(1, 5, 9, "CANCELLED")]) == [
        " | 0 | Enqueued",
        "waited 5.0 s | 5 | Attempt 1 [CANCELLED] ran 4.0 s (shop.No)",
        " | 8 | Asked to stop (by ada)",
        " | 9 | Finished [CANCELLED] 9.0 s after it was enqueued",
    ]


def test_one_that_was_cancelled_as_it_waited():
    row = job(
        "CANCELLED",
        attempt=0,
        run_after=at(300),
        finished_at=at(8),
        cancel_requested_at=at(8),
        cancel_requested_by="ada",
    )
    assert told(row, []) == [
        " | 0 | Enqueued",
        "waited 8.0 s | 8 | Finished [CANCELLED] 8.0 s after it was enqueued (by ada)",
    ]


def test_one_that_expired():
    # Claimed too late, and never begun.
    row = job(
        "CANCELLED",
        attempt=0,
        started_at=at(61),
        expires_at=at(60),
        finished_at=at(61),
        cancel_requested_at=at(60),
    )
    assert told(row, []) == [
        " | 0 | Enqueued",
        "waited 1 min 1 s | 61 | Finished [CANCELLED] 1 min 1 s after it was enqueued "
        "(It had expired.)",
    ]


def test_one_whose_task_asked_to_be_run_later():
    row = job("SCHEDULED", attempt=0, started_at=at(2), run_after=at(90))
    assert told(row, [], now=30) == [
        " | 0 | Enqueued",
        "waited 2.0 s | 2 | A run that does not count",
        " | 90 | Due in 1 min",
    ]


def test_one_that_was_retried_by_hand():
    row = job("READY", started_at=at(2))
    assert told(row, [attempt(1, 2, 4)], now=10) == [
        " | 0 | Enqueued",
        "waited 2.0 s | 2 | Attempt 1 [FAILED] ran 2.0 s (shop.No)",
        "waited 6.0 s | - | Waits for a worker",
    ]


def test_where_it_comes_from():
    parent = new_id()
    row = job("READY", parent=parent, schedule="nightly", creator="auth.user:5")
    (first, *_) = timeline(row, [], START)
    assert first.note == f"by job {parent}, by schedule nightly, for auth.user:5"


def test_clocks_that_do_not_agree():
    # The worker's host is behind the one that enqueued.
    row = job("SUCCESSFUL", started_at=at(-2), finished_at=at(-1))
    assert told(row, []) == [
        " | 0 | Enqueued",
        " | -2 | Attempt 1 [SUCCESSFUL] ran 1.0 s",
        " | -1 | Finished [SUCCESSFUL] 0 ms after it was enqueued",
    ]


def test_more_attempts_than_are_shown():
    row = job("FAILED", attempt=9, started_at=at(90), finished_at=at(95))
    lines = told(row, [attempt(9, 90, 95)], is_cut=True)
    assert lines[:3] == [
        " | 0 | Enqueued",
        " | - | Earlier attempts are left out.",
        " | 90 | Attempt 9 [FAILED] ran 5.0 s (shop.No)",
    ]
