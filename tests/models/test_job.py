import pytest
from asgiref.sync import async_to_sync
from django.core import checks
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from django_bgtasks.models import Job
from django_bgtasks.models.job import new_id
from tests.factories import make_finished, make_job, make_jobs, make_running
from tests.sample import plain_tasks
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db


def test_ids_are_in_the_order_of_their_making():
    ids = [new_id() for _ in range(1000)]
    assert ids == sorted(ids)
    assert {i.version for i in ids} == {7}


def test_ids_sort_in_the_database_as_in_python():
    made = [job.pk for job in make_jobs(50)]
    assert list(Job.objects.order_by("id").values_list("pk", flat=True)) == made


def test_the_queryset_reads_well():
    now = timezone.now()
    rows = {
        "scheduled": make_job(status="SCHEDULED", run_after=now),
        "ready": make_job(queue="mail"),
        "running": make_running(),
        "successful": make_finished("SUCCESSFUL", now),
        "failed": make_finished("FAILED", now, task="shop.renamed"),
        "cancelled": make_finished("CANCELLED", now),
    }
    for name, row in rows.items():
        assert list(getattr(Job.objects.all(), name)()) == [row]
    assert Job.objects.finished().count() == Job.objects.unfinished().count() == 3
    assert set(Job.objects.waiting()) == {rows["scheduled"], rows["ready"]}
    assert list(Job.objects.on_queue("mail", "x")) == [rows["ready"]]
    assert list(Job.objects.for_task("shop.renamed")) == [rows["failed"]]
    plain = make_job(task=plain_tasks.plain.module_path, queue="plain")
    assert list(Job.objects.for_task(plain_tasks.plain)) == [plain]
    plain.delete()
    assert list(Job.objects.for_task(sample.named).failed()) == [rows["failed"]]
    assert not rows["running"].is_finished
    assert rows["failed"].is_finished


@pytest.mark.parametrize(
    "status",
    ["scheduled", "ready", "running", "successful", "failed", "cancelled", "expired"],
)
def test_jobs_of_a_status_are_found_by_an_index(status, only):
    only("sqlite")  # whose planner asks nobody how many rows there are
    plan = getattr(Job.objects, status)().explain()
    assert "USING INDEX bgtasks_job_" in plan


def test_no_warning_about_indexes_on_any_database():
    messages = checks.run_checks(databases=["default"])
    assert [m for m in messages if m.id == "models.W037"] == []


def test_migrations_are_complete():
    call_command("makemigrations", "django_bgtasks", check=True, dry_run=True)


def test_every_database_has_the_indexes():
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, "django_bgtasks_job")
    columns = {name: c["columns"] for name, c in found.items() if c["index"]}
    full = not connection.features.supports_partial_indexes
    expected = {
        "bgtasks_job_claim": ["queue", "priority", "id"],
        "bgtasks_job_due": ["run_after"],
        "bgtasks_job_running": ["worker", "id"],
        "bgtasks_job_finished": ["status", "finished_at"],
    }
    if full:
        expected["bgtasks_job_claim"].insert(0, "status")
        expected["bgtasks_job_due"].insert(0, "status")
    assert expected.items() <= columns.items()


def test_the_claim_is_answered_from_its_index(only):
    only("postgresql", "sqlite")
    now = timezone.now()
    make_jobs(3000, status="SUCCESSFUL", finished_at=now)
    make_jobs(300)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    query = Job.objects.ready().filter(queue="default").order_by("-priority", "id")
    plan = query.values("id")[:10].explain()
    assert "bgtasks_job_claim" in plan
    assert "Sort" not in plan
    assert "TEMP B-TREE" not in plan


def test_cancel_and_retry_of_a_queryset():
    job = make_job()
    assert Job.objects.filter(pk=job.pk).cancel(by="ada") == (1, 0)
    job.refresh_from_db()
    assert (job.status, job.cancel_requested_by) == ("CANCELLED", "ada")
    assert async_to_sync(Job.objects.cancelled().aretry)() == 1
    assert async_to_sync(Job.objects.ready().acancel)() == (1, 0)
