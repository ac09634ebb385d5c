from collections import Counter

import pytest
from django.utils import timezone

from django_bgtasks.models import Job
from django_bgtasks.store import lifecycle, sweeps
from django_bgtasks.store.lifecycle import CancelCounts
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
