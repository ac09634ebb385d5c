import uuid
from datetime import timedelta
from functools import partial

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_bgtasks.models import Attempt, Job
from django_bgtasks.outcomes import (
    Cancelled,
    Error,
    Failed,
    Released,
    Snoozed,
    Succeeded,
    TimedOut,
    Unknown,
)
from django_bgtasks.signals import jobs_cancelled, jobs_retried
from django_bgtasks.store import lifecycle, maintenance
from django_bgtasks.store.engines.base import Want
from django_bgtasks.store.lifecycle import UNKNOWN_TASK_DELAY
from tests.admin.pages import failed_attempt
from tests.factories import make_finished, make_job, make_running
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db

WORKER = uuid.uuid4()
ERROR = Error("builtins.ValueError", "ValueError: no", "Traceback ...")
NOW = timezone.now()
SOON = timedelta(seconds=30)
DECADE = timedelta(days=3650)

#: Outcome, status it leads to, attempts that count afterwards, Attempt's ending.
TRANSITIONS = [
    (Succeeded(1), "SUCCESSFUL", 2, None),
    (Failed(ERROR, None), "FAILED", 2, "FAILED"),
    (Failed(ERROR, SOON), "SCHEDULED", 2, "FAILED"),
    (TimedOut(ERROR, None), "FAILED", 2, "TIMED_OUT"),
    (TimedOut(ERROR, SOON), "SCHEDULED", 2, "TIMED_OUT"),
    (Cancelled(ERROR), "CANCELLED", 2, "CANCELLED"),
    (Snoozed(SOON), "SCHEDULED", 1, None),
    (Unknown(), "SCHEDULED", 1, None),
    (Released(), "READY", 1, None),
]


@pytest.mark.parametrize(("outcome", "status", "attempt", "ending"), TRANSITIONS)
def test_every_way_out_of_running(outcome, status, attempt, ending):
    job = make_running(WORKER, attempt=2, run_token=7)
    assert lifecycle.finish(WORKER, [(job, outcome)], NOW) == []
    row = Job.objects.get()
    assert (row.status, row.attempt, row.run_token) == (status, attempt, 7)
    assert row.worker is None
    assert row.finished_at == (
        NOW if status in ("SUCCESSFUL", "FAILED", "CANCELLED") else None
    )
    assert [a.ending for a in Attempt.objects.all()] == ([ending] if ending else [])


@pytest.mark.parametrize(("outcome", "status", "attempt", "ending"), TRANSITIONS)
@pytest.mark.parametrize("loss", ["worker", "run_token", "row"])
def test_a_lost_run_changes_nothing(outcome, status, attempt, ending, loss):
    job = make_running(WORKER, attempt=2, run_token=7)
    rows = Job.objects.filter(pk=job.pk)
    if loss == "worker":
        rows.update(worker=uuid.uuid4())
    elif loss == "run_token":
        rows.update(run_token=8)
    else:
        rows.delete()
    before = list(rows.values())
    assert lifecycle.finish(WORKER, [(job, outcome)], NOW) == [job]
    assert list(rows.values()) == before
    assert not Attempt.objects.exists()


@pytest.mark.parametrize("outcome", [Failed(ERROR, SOON), Snoozed(SOON), Released()])
def test_what_somebody_cancelled_does_not_come_back(outcome):
    job = make_running(WORKER, cancel_requested_at=NOW)
    assert lifecycle.finish(WORKER, [(job, outcome)], NOW) == []
    row = Job.objects.get()
    assert (row.status, row.finished_at, row.worker) == ("CANCELLED", NOW, None)


def test_a_success_stays_one_though_somebody_cancelled_it():
    job = make_running(WORKER, cancel_requested_at=NOW)
    lifecycle.finish(WORKER, [(job, Succeeded(1))], NOW)
    assert Job.objects.get().status == "SUCCESSFUL"


def test_a_retry_waits_for_its_delay():
    job = make_running(WORKER)
    lifecycle.finish(WORKER, [(job, Failed(ERROR, SOON))], NOW)
    assert Job.objects.get().run_after == NOW + SOON


@pytest.mark.parametrize(
    ("delay", "waits"),
    [(timedelta.min, timedelta(0)), (-SOON, timedelta(0)), (timedelta.max, DECADE)],
)
def test_no_delay_leads_out_of_the_calendar(delay, waits):
    snoozed, failed = make_running(WORKER), make_running(WORKER)
    ended = [(snoozed, Snoozed(delay)), (failed, Failed(ERROR, delay))]
    assert lifecycle.finish(WORKER, ended, NOW) == []
    assert {job.run_after - NOW for job in Job.objects.scheduled()} == {waits}


@pytest.mark.parametrize(
    ("outcome", "is_kept"),
    [
        (Failed(ERROR, SOON), False),
        (TimedOut(ERROR, SOON), False),
        (Released(has_begun=True), False),
        (Released(), True),
        (Snoozed(SOON), True),
        (Unknown(), True),
        (Failed(ERROR, None), True),
        (Cancelled(ERROR), True),
        (Succeeded(1), True),
    ],
)
def test_the_progress_begins_anew_with_the_work(outcome, is_kept):
    progress = {"done": 40, "total": 100, "message": ""}
    job = make_running(WORKER, progress=progress)
    lifecycle.finish(WORKER, [(job, outcome)], NOW)
    assert Job.objects.get().progress == (progress if is_kept else None)


def test_how_far_it_came_before_it_was_cancelled_is_kept():
    progress = {"done": 40, "total": 100, "message": ""}
    job = make_running(WORKER, progress=progress, cancel_requested_at=NOW)
    lifecycle.finish(WORKER, [(job, Failed(ERROR, SOON))], NOW)
    row = Job.objects.get()
    assert (row.status, row.progress) == ("CANCELLED", progress)


def test_the_attempt_row_tells_what_happened():
    job = make_running(WORKER, attempt=2)
    lifecycle.finish(WORKER, [(job, Failed(ERROR, SOON))], NOW)
    attempt = Attempt.objects.get()
    assert (attempt.job_id, attempt.number, attempt.worker) == (job.pk, 2, WORKER)
    assert (attempt.started_at, attempt.finished_at) == (job.started_at, NOW)
    assert attempt.exception_class_path == "builtins.ValueError"
    assert (attempt.error, attempt.traceback) == (ERROR.summary, ERROR.traceback)


def test_the_time_since_when_a_task_is_unknown_is_kept_until_it_is_known():
    job = make_running(WORKER)
    lifecycle.finish(WORKER, [(job, Unknown())], NOW)
    row = Job.objects.get()
    assert (row.unknown_since, row.run_after) == (NOW, NOW + UNKNOWN_TASK_DELAY)
    again = NOW + timedelta(minutes=1)
    Job.objects.update(status="READY")
    (job,) = lifecycle.claim(WORKER, Want("default", 1), again)
    lifecycle.finish(WORKER, [(job, Unknown())], again)
    assert Job.objects.get().unknown_since == NOW
    Job.objects.update(status="READY")
    (job,) = lifecycle.claim(WORKER, Want("default", 1), again)
    lifecycle.finish(WORKER, [(job, Snoozed(SOON))], again)
    assert Job.objects.get().unknown_since is None


def test_what_is_handed_over_is_another_run():
    job, other = make_running(WORKER), make_running()
    successor = uuid.uuid4()
    Job.objects.update(progress={"done": 40, "total": 100, "message": ""})
    taken = lifecycle.hand_over([job.pk, other.pk], WORKER, successor, NOW)
    (again,) = lifecycle.running_jobs(successor)
    assert (taken, again.pk, again.progress) == (1, job.pk, None)
    # Neither of them can end the run of the other, whatever it takes itself for.
    for worker, run in [(WORKER, job), (successor, job), (WORKER, again)]:
        for outcome in (Succeeded(1), Failed(ERROR, None)):
            assert lifecycle.finish(worker, [(run, outcome)], NOW) == [run]
    assert lifecycle.finish(successor, [(again, Succeeded(1))], NOW) == []


def test_a_batch_of_all_kinds_in_one_go():
    ended = [(make_running(WORKER), outcome) for outcome, *_ in TRANSITIONS]
    lost = make_running()
    result = lifecycle.finish(WORKER, [*ended, (lost, Succeeded())], NOW)
    assert result == [lost]
    for (job, _), (_, status, *_rest) in zip(ended, TRANSITIONS, strict=True):
        assert Job.objects.get(pk=job.pk).status == status
    assert Attempt.objects.count() == 5


def test_rows_are_locked_in_the_order_of_their_keys():
    jobs = [make_running(WORKER) for _ in range(4)]
    ended = [(job, Failed(ERROR, SOON)) for job in reversed(jobs)]
    with CaptureQueriesContext(connection) as captured:
        lifecycle.finish(WORKER, ended, NOW)
    updates = "".join(
        query["sql"].replace("-", "")
        for query in captured.captured_queries
        if query["sql"].startswith("UPDATE")
    )
    places = [updates.index(job.pk.hex) for job in jobs]
    assert places == sorted(places)


def test_cancel_ends_what_waits_and_asks_what_runs():
    ready, scheduled = make_job(), make_job(status="SCHEDULED", run_after=NOW)
    running = make_running()
    done = make_finished("SUCCESSFUL", NOW)
    counts = lifecycle.cancel(Job.objects.all(), by="ada", now=NOW)
    assert counts == (2, 1)
    for job in (ready, scheduled):
        job.refresh_from_db()
        assert (job.status, job.finished_at) == ("CANCELLED", NOW)
        assert (job.cancel_requested_at, job.cancel_requested_by) == (NOW, "ada")
    running.refresh_from_db()
    assert (running.status, running.cancel_requested_at) == ("RUNNING", NOW)
    assert running.cancel_requested_by == "ada"
    done.refresh_from_db()
    assert (done.status, done.cancel_requested_at) == ("SUCCESSFUL", None)


def test_who_asked_first_is_kept():
    running = make_running()
    lifecycle.cancel(Job.objects.all(), by="ada", now=NOW)
    again = lifecycle.cancel(Job.objects.all(), by="bob", now=NOW + timedelta(1))
    running.refresh_from_db()
    assert again == (0, 1)
    assert (running.cancel_requested_by, running.cancel_requested_at) == ("ada", NOW)


def test_cancel_of_nothing():
    assert lifecycle.cancel(Job.objects.none()) == (0, 0)


def test_retry_gives_one_more_attempt():
    failed = make_finished("FAILED", NOW, max_attempts=1, run_token=4)
    few = make_finished("CANCELLED", NOW, max_attempts=5, cancel_requested_at=NOW)
    others = [make_job(), make_running(), make_finished("SUCCESSFUL", NOW)]
    assert lifecycle.retry(Job.objects.all()) == 2
    failed.refresh_from_db()
    assert (failed.status, failed.finished_at) == ("READY", None)
    assert (failed.attempt, failed.max_attempts, failed.run_token) == (1, 2, 4)
    few.refresh_from_db()
    assert (few.status, few.max_attempts, few.cancel_requested_at) == ("READY", 5, None)
    for job in others:
        status = job.status
        job.refresh_from_db()
        assert job.status == status


def test_progress_is_written_for_the_run_that_has_the_job():
    job = make_running(WORKER)
    assert lifecycle.write_running(job, progress={"done": 1})
    assert Job.objects.get().progress == {"done": 1}
    Job.objects.update(run_token=9)
    assert not lifecycle.write_running(job, progress={"done": 2})
    assert Job.objects.get().progress == {"done": 1}


def test_enqueue_takes_the_clock():
    task = sample.add.using(run_after=NOW)
    before = lifecycle.job_maker(task, "default", NOW - SOON)([1], {})
    after = lifecycle.job_maker(task, "default", NOW)([1], {})
    lifecycle.enqueue([before, after])
    assert [before.status, after.status] == ["SCHEDULED", "READY"]
    assert list(Job.objects.order_by("id").values()) == [
        {field.attname: getattr(job, field.attname) for field in Job._meta.fields}
        for job in (before, after)
    ]


@pytest.fixture
def told():
    """What is told of jobs that were cancelled or retried."""
    lines = []

    def receiver(*, signal, ids, by=None, **kwargs):
        name = "cancelled" if signal is jobs_cancelled else "retried"
        lines.append((name, sorted(ids), by))

    for signal in (jobs_cancelled, jobs_retried):
        signal.connect(receiver)
    yield lines
    for signal in (jobs_cancelled, jobs_retried):
        signal.disconnect(receiver)


@pytest.mark.django_db(transaction=True)
def test_what_is_cancelled_and_retried_is_told_once_it_is_committed(told):
    jobs = sorted(make_job().pk for _ in range(2))
    make_running()
    with transaction.atomic():
        Job.objects.all().cancel(by="ada")
        assert told == []
    Job.objects.all().retry()
    Job.objects.all().retry()
    Job.objects.update(expires_at=NOW)
    maintenance.expire(NOW + SOON)
    assert told == [
        ("cancelled", jobs, "ada"),
        ("retried", jobs, None),
        ("cancelled", jobs, ""),
    ]


@pytest.mark.django_db(transaction=True)
def test_what_is_rolled_back_is_not_told(told):
    make_job()
    with transaction.atomic():
        Job.objects.all().cancel()
        transaction.set_rollback(True)
    assert told == []


# -- what waits


@pytest.fixture
def one_of_each():
    """A job of each status."""
    made = [
        make_job(),
        make_job(status="SCHEDULED", run_after=NOW + timedelta(days=1)),
        make_running(),
    ]
    made += [make_finished(s, NOW) for s in ("SUCCESSFUL", "FAILED", "CANCELLED")]
    return {job.status: job.pk for job in made}


def changed(one_of_each, **columns):
    """The statuses that jobs had that now have these columns; others are untouched."""
    statuses = {pk: status for status, pk in one_of_each.items()}
    found = {statuses[job.pk] for job in Job.objects.filter(**columns)}
    for job in Job.objects.all():
        assert job.status == statuses[job.pk] or statuses[job.pk] in found
    return found


def test_run_now(one_of_each):
    assert lifecycle.run_now(Job.objects.all()) == 1
    assert Job.objects.get(pk=one_of_each["SCHEDULED"]).status == "READY"
    assert Job.objects.scheduled().count() == 0
    # Since when it could have run is known.
    assert changed(one_of_each, run_after__lte=timezone.now()) == {"SCHEDULED"}


def test_set_priority(one_of_each):
    assert lifecycle.set_priority(Job.objects.all(), 9) == 2
    assert changed(one_of_each, priority=9) == {"READY", "SCHEDULED"}


def test_move(one_of_each):
    assert lifecycle.move(Job.objects.all(), "mail") == 2
    assert changed(one_of_each, queue="mail") == {"READY", "SCHEDULED"}


@pytest.mark.parametrize(
    ("after", "status"), [(timedelta(1), "SCHEDULED"), (-timedelta(1), "READY")]
)
def test_reschedule(one_of_each, after, status):
    until = timezone.now() + after
    assert lifecycle.reschedule(Job.objects.all(), until) == 2
    assert changed(one_of_each, run_after=until) == {"READY", "SCHEDULED"}
    assert {job.status for job in Job.objects.filter(run_after=until)} == {status}


def test_a_job_does_not_expire_before_the_time_it_is_given():
    soon, late = NOW + timedelta(hours=1), NOW + timedelta(days=9)
    jobs = [make_job(expires_at=soon), make_job(expires_at=late), make_job()]
    lifecycle.reschedule(Job.objects.all(), NOW + timedelta(days=1))
    after = {job.pk: job.expires_at for job in Job.objects.all()}
    assert [after[job.pk] for job in jobs] == [None, late, None]


def test_delete(one_of_each):
    for pk in (one_of_each["FAILED"], one_of_each["RUNNING"]):
        failed_attempt(Job.objects.get(pk=pk))
    assert lifecycle.delete(Job.objects.all()) == 5
    assert [job.status for job in Job.objects.all()] == ["RUNNING"]
    assert Attempt.objects.count() == 1


@pytest.mark.parametrize(
    "deed",
    [lifecycle.run_now, partial(lifecycle.move, queue="mail")],
    ids=["run now", "move"],
)
def test_workers_are_called_for_what_became_ready(deed, monkeypatch):
    called = []
    monkeypatch.setattr(lifecycle.wakeup, "call", lambda *queue: called.append(queue))
    assert deed(Job.objects.all()) == 0
    assert called == []
    make_job(status="SCHEDULED", run_after=NOW + timedelta(days=1))
    assert deed(Job.objects.all()) == 1
    assert len(called) == 1
