"""The job that does something to many others."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.utils import timezone

from django_bgtasks import housekeeping
from django_bgtasks.models import Job
from django_bgtasks.models.job import new_id
from django_bgtasks.store import sweeps
from django_bgtasks.testing import run_jobs
from tests.factories import make_finished, make_job, make_jobs

pytestmark = pytest.mark.django_db


def ask_for(deed, selection=None, options=None, **changes):
    given = {
        "by": "ada",
        "asked_at": timezone.now().isoformat(),
        "upto": str(new_id()),
        "sees_arguments": False,
        **changes,
    }
    return housekeeping.sweep.enqueue(deed, selection or {}, options or {}, **given)


def the_job(result):
    return Job.objects.get(pk=result.id)


def ended(count, **columns):
    return [make_finished("FAILED", timezone.now(), **columns) for _ in range(count)]


def test_a_sweep_says_how_far_it_is_and_what_it_did(monkeypatch):
    monkeypatch.setattr(sweeps.Sweep.go, "__defaults__", (None, 2))
    ended(5, queue="mail")
    spared = ended(1)
    result = ask_for("delete", {"status": "FAILED", "queue": "mail"})
    (done,) = run_jobs()
    assert done.return_value == {"deleted": 5}
    assert [job.pk for job in Job.objects.failed()] == [job.pk for job in spared]
    job = the_job(result)
    assert job.progress == {"done": 5, "total": 5, "message": ""}
    assert job.metadata == {"jobs": 5, "seen": 5, "done": {"deleted": 5}, "next": ""}


def test_a_sweep_does_not_touch_itself():
    result = ask_for("cancel", upto=str(UUID(int=2**128 - 1)))
    make_jobs(2, status="SCHEDULED", run_after=timezone.now() + timedelta(1))
    (done,) = run_jobs()
    assert done.return_value == {"cancelled": 2}
    assert the_job(result).cancel_requested_at is None


def test_a_sweep_retries_no_other():
    ended(1)
    (other,) = ended(1, task=housekeeping.sweep.path)
    ask_for("retry", {"status": "FAILED"})
    (done, _) = run_jobs(raise_errors=False)
    assert done.return_value == {"retried": 1}
    assert Job.objects.get(pk=other.pk).status == "FAILED"


def test_an_attempt_goes_on_where_the_one_before_was_interrupted(monkeypatch):
    monkeypatch.setattr(sweeps.Sweep.go, "__defaults__", (None, 2))
    ended(5)
    result = ask_for("delete", {"status": "FAILED"})
    delete = sweeps.lifecycle.delete

    def delete_but_once(jobs):
        if Job.objects.failed().count() < 4:
            raise OSError("interrupted")
        return delete(jobs)

    monkeypatch.setattr(sweeps.lifecycle, "delete", delete_but_once)
    with pytest.raises(OSError, match="interrupted"):
        run_jobs()
    assert Job.objects.failed().count() == 3
    ended(1)
    monkeypatch.setattr(sweeps.lifecycle, "delete", delete)
    (done,) = run_jobs(now=timedelta(hours=1))
    # One has come since, and was not meant.
    assert done.return_value == {"deleted": 5}
    assert Job.objects.failed().count() == 1
    assert the_job(result).progress["done"] == 5


def test_a_sweep_that_had_come_to_its_end_does_nothing_again():
    ended(2)
    result = ask_for("delete", {"status": "FAILED"})
    run_jobs()
    Job.objects.filter(pk=result.id).update(status="READY", finished_at=None)
    (done,) = run_jobs()
    assert done.return_value == {"deleted": 2}


def test_a_sweep_can_be_cancelled(monkeypatch):
    monkeypatch.setattr(sweeps.Sweep.go, "__defaults__", (None, 2))
    ended(5)
    result = ask_for("delete", {"status": "FAILED"})
    delete = sweeps.lifecycle.delete

    def delete_and_cancel(jobs):
        Job.objects.filter(pk=result.id).update(cancel_requested_at=timezone.now())
        return delete(jobs)

    monkeypatch.setattr(sweeps.lifecycle, "delete", delete_and_cancel)
    monkeypatch.setattr("django_bgtasks.context.TaskContext.cancelled", True)
    run_jobs()
    assert Job.objects.failed().count() == 3


def test_arguments_are_searched_for_those_who_may_see_them():
    for sees, left in ((False, 1), (True, 0)):
        job = make_job(
            args=[42], status="SCHEDULED", run_after=timezone.now() + timedelta(1)
        )
        ask_for("delete", {"search": "a=42"}, sees_arguments=sees)
        run_jobs()
        assert Job.objects.filter(pk=job.pk).count() == left


def test_of_very_many_jobs_the_number_is_not_known(monkeypatch):
    monkeypatch.setattr(housekeeping, "SWEEP_COUNT_LIMIT", 2)
    ended(3)
    result = ask_for("delete", {"status": "FAILED"})
    run_jobs()
    assert the_job(result).metadata["jobs"] == 3  # more than are counted
    assert the_job(result).progress == {"done": 3, "total": 3, "message": ""}
