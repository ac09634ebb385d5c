from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from django_bgtasks.models import Job
from django_bgtasks.models.job import new_id
from django_bgtasks.store import lifecycle, sweeps, walking
from django_bgtasks.store.lifecycle import CancelCounts
from django_bgtasks.store.selection import Selection
from django_bgtasks.store.sweeps import Sweep
from tests.factories import make_finished, make_job, make_jobs, make_running

pytestmark = pytest.mark.django_db

JOBS = Job.objects.all()


def statuses():
    return Counter(JOBS.values_list("status", flat=True))


def test_cancelling_goes_in_batches_until_none_is_left():
    make_jobs(5)
    make_job(status="SCHEDULED", run_after=timezone.now())
    make_running()
    make_finished("FAILED", timezone.now())
    done = list(sweeps.cancel(JOBS, sweeps.CANCELLABLE, by="ada", limit=2))
    assert done == [
        CancelCounts(1, 0),
        *[CancelCounts(2, 0), CancelCounts(2, 0), CancelCounts(1, 0)],
        CancelCounts(0, 1),
    ]
    assert statuses() == {"CANCELLED": 6, "RUNNING": 1, "FAILED": 1}
    by = set(JOBS.exclude(status="FAILED").values_list("cancel_requested_by"))
    assert by == {("ada",)}


def test_a_job_that_has_changed_its_status_meanwhile_is_left_alone():
    """Somebody wants READY jobs cancelled, and a worker claims one just then."""
    job = make_job()
    for batch in sweeps._batches(JOBS, ["READY"], 500):
        make_running_now(job)
        assert lifecycle.cancel(batch) == CancelCounts(0, 0)
    assert statuses() == {"RUNNING": 1}
    assert JOBS.get().cancel_requested_at is None


def test_a_job_that_goes_back_while_others_are_cancelled_is_cancelled_as_well():
    make_job(status="SCHEDULED", run_after=timezone.now())
    job = make_running()
    for counts in sweeps.cancel(JOBS, sweeps.CANCELLABLE, by=""):
        if counts.cancelled and job.status == "RUNNING":
            # Its attempt fails, and it is to be tried again.
            job.status, job.worker = "SCHEDULED", None
            job.save()
    assert statuses() == {"CANCELLED": 2}


def test_what_cannot_be_changed_does_not_come_again(monkeypatch):
    make_jobs(5, status="FAILED", finished_at=timezone.now())
    stuck = JOBS.first()
    retry = lifecycle.retry
    monkeypatch.setattr(
        lifecycle, "retry", lambda jobs: retry(jobs.exclude(pk=stuck.pk))
    )
    assert sum(sweeps.retry(JOBS, sweeps.RETRYABLE, limit=1)) == 4
    assert statuses() == {"READY": 4, "FAILED": 1}


def test_each_job_is_retried_but_once():
    """It may have failed again before all are through."""
    make_jobs(3, status="FAILED", finished_at=timezone.now())
    retried, before = 0, []
    for count in sweeps.retry(JOBS, ["FAILED"], limit=1):
        retried += count
        JOBS.filter(pk__in=before).update(status="FAILED", finished_at=timezone.now())
        before = list(JOBS.ready().values_list("pk", flat=True))
        assert retried <= 3
    assert retried == 3


@pytest.mark.parametrize(("limit", "expected"), [(10, 5), (5, 5), (3, 4)])
def test_counting_ends_at_the_limit(limit, expected):
    make_jobs(2)
    make_jobs(3, status="SCHEDULED", run_after=timezone.now())
    make_finished("FAILED", timezone.now())
    assert sweeps.count(JOBS, sweeps.CANCELLABLE, limit) == expected


def make_running_now(job):
    (claimed,) = lifecycle.claim(
        make_job().pk, lifecycle.Want(job.queue, 1), timezone.now()
    )
    assert claimed.pk == job.pk
    JOBS.ready().delete()


# -- what is done to all of a selection


def sweep(deed, params=None, *, upto=None, **options):
    params = params or {}
    return Sweep(
        deed,
        Selection.from_params(params, upto=upto or new_id()),
        options,
        by="ada",
        asked_at=timezone.now(),
    )


@pytest.mark.parametrize(
    ("deed", "options", "counts", "statuses_after"),
    [
        ("retry", {}, {"retried": 2}, {"READY": 3}),
        ("cancel", {}, {"cancelled": 2, "asked": 1}, {"CANCELLED": 3}),
        ("run_now", {}, {"ready": 1}, {"READY": 2}),
        ("set_priority", {"priority": 9}, {"changed": 2}, {}),
        ("move", {"queue": "mail"}, {"moved": 2}, {}),
        ("reschedule", {"run_after": "2999-01-01T00:00"}, {"changed": 2}, {}),
        ("delete", {}, {"deleted": 5}, {"FAILED": 0}),
    ],
)
def test_every_deed_is_done_to_what_it_can_be_done_to(
    deed, options, counts, statuses_after
):
    if deed == "reschedule":
        moment = timezone.now() + timedelta(days=1)
        options = {"run_after": moment.isoformat()}
    make_job()
    make_job(status="SCHEDULED", run_after=timezone.now())
    make_running()
    for status in ("SUCCESSFUL", "FAILED", "CANCELLED"):
        make_finished(status, timezone.now())
    total = Counter()
    for number, done, _rest in sweep(deed, **options).go(limit=2):
        assert number <= 2
        total += done
    assert total == counts
    after = statuses()
    assert {status: after[status] for status in statuses_after} == statuses_after


def test_every_deed_is_known_by_what_it_can_be_done_to():
    assert set(sweeps.DEEDS) == {
        *("retry", "cancel", "run_now", "set_priority", "move", "reschedule", "delete")
    }
    for deed in sweeps.DEEDS.values():
        assert set(deed.statuses) < set(Job.Status.values)


def test_only_what_was_there_and_fits_is_taken():
    make_jobs(3, queue="mail")
    make_job()
    work = sweep("cancel", {"queue": "mail"})
    make_job(queue="mail")
    assert work.count(10) == 3
    assert sum(number for number, *_ in work.go()) == 3
    assert statuses() == {"CANCELLED": 3, "READY": 2}
    assert JOBS.cancelled()[0].cancel_requested_by == "ada"


def test_the_job_that_does_it_is_spared():
    jobs = make_jobs(2)
    work = replace(sweep("cancel"), spared=jobs[0].pk)
    list(work.go())
    assert statuses() == {"CANCELLED": 1, "READY": 1}


def test_a_job_of_another_status_by_now_is_left_alone(monkeypatch):
    """Those that are READY were meant, and a worker has claimed one just then."""
    job = make_job()
    batches = walking.batches

    def claimed_meanwhile(*args):
        for batch in batches(*args):
            make_running_now(job)
            yield batch

    monkeypatch.setattr(walking, "batches", claimed_meanwhile)
    ((_, counts, _),) = sweep("cancel", {"status": "READY"}).go()
    assert counts.total() == 0
    assert JOBS.get().cancel_requested_at is None


def test_what_has_failed_again_since_is_not_retried_again():
    make_jobs(2, status="FAILED", finished_at=timezone.now())
    work = sweep("retry", {"status": "FAILED"})
    list(work.go())
    JOBS.update(status="FAILED", finished_at=timezone.now())
    assert [counts.total() for _, counts, _ in work.go()] == [0]
    assert statuses() == {"FAILED": 2}


def test_a_sweep_goes_on_where_it_was_interrupted():
    make_jobs(5, status="FAILED", finished_at=timezone.now())
    work = sweep("delete", {"status": "FAILED"})
    number, _counts, rest = next(work.go(limit=2))
    assert number == 2
    assert [number for number, *_ in work.go(rest, limit=2)] == [2, 1]
    assert statuses() == {}
