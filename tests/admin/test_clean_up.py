from datetime import timedelta

import pytest
from django.test import override_settings
from django.urls import reverse
from django.utils import timezone

from django_bgtasks.admin import clean_up
from django_bgtasks.models import Job, Schedule, Worker
from django_bgtasks.store.engines import get_engine
from tests.admin.pages import (
    MARKUP,
    changelist,
    log_entries,
    page,
    said,
    text_of,
)
from tests.factories import living_worker, make_finished, make_running

pytestmark = pytest.mark.django_db

PRUNE = "django_bgtasks.prune"


@pytest.fixture
def lost():
    long_ago = get_engine().now() - timedelta(minutes=5, seconds=3)
    return living_worker(heartbeat_at=long_ago, hostname="gone", pid=9)


def url(button=""):
    return reverse(f"admin:django_bgtasks_worker_clean_up{button}")


def press(client, button, *workers):
    return client.post(url(f"_{button}"), {"worker": [str(w) for w in workers]})


def html(response):
    return response.content.decode()


def test_without_anything_left_it_says_so(admin_client):
    make_running(living_worker().pk)
    assert "Nothing: each running job has a worker" in text_of(admin_client.get(url()))
    assert "left something behind" not in html(admin_client.get(changelist("worker")))
    assert url() in html(admin_client.get(changelist("worker")))


def test_it_lists_what_is_left(admin_client, lost):
    job, orphan = make_running(lost.pk), make_running()
    fine = make_running(living_worker(hostname="fine").pk)
    response = admin_client.get(url())
    shown = text_of(response)
    assert "gone:9 silent for 5 min 3 s · 1 job" in shown
    assert f"{orphan.worker} without a row · 1 job" in shown
    assert page(job) in html(response)
    assert page(orphan) in html(response)
    assert page(fine) not in html(response)
    assert "left something behind" in html(admin_client.get(changelist("worker")))


@pytest.mark.parametrize(
    ("button", "status", "message", "logged"),
    [
        (
            "rescue",
            "SCHEDULED",
            "2 jobs were taken back: they are tried again, or have failed, as their "
            "tasks say.",
            "Rescued: its worker was not heard of any more.",
        ),
        (
            "fail",
            "FAILED",
            "2 jobs were taken back and have failed.",
            "Failed: its worker was not heard of any more.",
        ),
    ],
)
def test_rescue_and_fail(admin_client, lost, button, status, message, logged):
    jobs = [make_running(lost.pk), make_running()]
    response = press(admin_client, button, lost.pk, jobs[1].worker)
    assert response.url == url()
    assert said(response) == [message, "2 dead workers were removed."]
    assert {job.status for job in Job.objects.all()} == {status}
    assert {job.attempts.get().ending for job in jobs} == {"LOST"}
    assert not Worker.objects.exists()
    assert {(str(job.pk), "Change", logged) for job in jobs} < log_entries()
    assert (str(lost.pk), "Change", "Removed as dead.") in log_entries()


def test_what_is_not_selected_stays(admin_client, lost):
    job = make_running()
    press(admin_client, "fail", lost.pk)
    assert list(Job.objects.running()) == [job]
    assert said(press(admin_client, "fail")) == ["No worker was selected."]
    assert said(press(admin_client, "fail", "x'; --")) == ["No worker was selected."]


def test_who_is_alive_is_left_alone(admin_client):
    """It was lost when the page was made, and was heard of since."""
    alive = living_worker()
    job = make_running(alive.pk)
    (message,) = said(press(admin_client, "fail", alive.pk))
    assert message.startswith("1 worker was left alone: it was heard of again")
    job.refresh_from_db()
    assert (job.status, job.worker) == ("RUNNING", alive.pk)
    assert log_entries() == set()


def test_retention_is_said_in_words(admin_client):
    now = timezone.now()
    with override_settings(BGTASKS={"RETENTION": {"CANCELLED": None, "FAILED": 7200}}):
        make_finished("FAILED", now - timedelta(hours=3))
        make_finished("FAILED", now - timedelta(hours=1))
        make_finished("CANCELLED", now - timedelta(days=900))
        make_finished("SUCCESSFUL", now, retention=timedelta(seconds=-1))
        shown = text_of(admin_client.get(url()))
    assert "Successful 1 d Failed 2 h Cancelled for ever" in shown
    assert "Can be pruned now 2" in shown


def test_what_can_be_pruned_is_counted_up_to_a_limit(admin_client, monkeypatch):
    monkeypatch.setattr(clean_up, "COUNT_LIMIT", 3)
    long_ago = timezone.now() - timedelta(days=900)
    for status in ("FAILED", "SUCCESSFUL"):
        for _ in range(2):
            make_finished(status, long_ago)
    assert "Can be pruned now more than 3" in text_of(admin_client.get(url()))


def test_prune_now_is_a_job(admin_client):
    (message,) = said(press(admin_client, "prune"))
    job = Job.objects.get()
    assert (job.task, job.status) == (PRUNE, "READY")
    assert message == (
        f'A job is enqueued that prunes: <a href="{page(job)}">{job.pk}</a>.'
    )
    assert log_entries() == {(str(job.pk), "Change", "Enqueued by “prune now”.")}
    # One is enough.
    (message,) = said(press(admin_client, "prune"))
    assert message.startswith("There is a job already that prunes: ")
    assert Job.objects.get() == job


def test_prune_now_goes_where_the_periodic_job_goes(admin_client):
    Schedule.objects.create(name=PRUNE, task=PRUNE, cron="@daily", queue_name="low")
    press(admin_client, "prune")
    assert Job.objects.get().queue == "low"
    note = "It is a job on queue low, and no live worker claims from that now"
    assert note in text_of(admin_client.get(url()))
    living_worker(queues=["mail"])
    living_worker(instruction="quiet")
    assert note in text_of(admin_client.get(url()))
    living_worker(queues=["low"])
    assert note not in text_of(admin_client.get(url()))


@pytest.mark.parametrize(
    ("permission", "button"),
    [
        ("change_worker", None),
        ("steer_worker", None),
        ("retry_job", "rescue"),
        ("cancel_job", "fail"),
        ("delete_job", "prune"),
    ],
)
def test_each_button_needs_its_permission(member, lost, permission, button):
    client = member("view_worker", permission)
    shown = html(client.get(url()))
    for other in ("rescue", "fail", "prune"):
        assert (url(f"_{other}") in shown) == (other == button)
        code = press(client, other, lost.pk).status_code
        assert code == (302 if other == button else 403)


def test_the_page_needs_the_view_permission(member, client, lost):
    job = make_running(lost.pk)
    rescuer = member("retry_job")
    assert rescuer.get(url()).status_code == 403
    assert client.get(url()).url.startswith("/admin/login/")
    # Jobs are for those who may see them.
    response = member("view_worker").get(url())
    assert "gone:9 silent for 5 min 3 s · 1 job" in text_of(response)
    assert job.task not in html(response)
    assert press(rescuer, "rescue", lost.pk).url == "/admin/"


def test_buttons_are_posted(admin_client):
    for button in ("rescue", "fail", "prune"):
        assert admin_client.get(url(f"_{button}")).status_code == 405


@pytest.mark.parametrize("count", [1, 20])
def test_the_number_of_queries_does_not_depend_on_what_is_left(
    admin_client, count, django_assert_num_queries
):
    long_ago = get_engine().now() - timedelta(hours=1)
    for _ in range(count):
        make_running(living_worker(heartbeat_at=long_ago).pk)
        make_running()
        make_finished("FAILED", long_ago)
    clock = 0 if get_engine().connection.vendor == "sqlite" else 1
    # Session, user; lost workers, orphans, counts, jobs; the queue and its workers;
    # three counts of what can be pruned, and no age that jobs say themselves.
    with django_assert_num_queries(12 + clock):
        admin_client.get(url())


def test_many_are_shown_in_part(admin_client, lost, monkeypatch):
    monkeypatch.setattr(clean_up, "JOB_LIMIT", 2)
    monkeypatch.setattr(clean_up, "WORKER_LIMIT", 1)
    for _ in range(5):
        make_running(lost.pk)
    living_worker(heartbeat_at=lost.heartbeat_at, hostname="elsewhere")
    shown = text_of(admin_client.get(url()))
    assert "gone:9 silent for 5 min 3 s · 5 jobs" in shown
    assert "and 3 more jobs" in shown
    assert "There are more of them; 1 are shown." in shown
    assert "elsewhere" not in shown


def test_names_are_text(admin_client):
    long_ago = get_engine().now() - timedelta(hours=1)
    worker = living_worker(heartbeat_at=long_ago, hostname=MARKUP)
    make_running(worker.pk, task=MARKUP)
    response = admin_client.get(url())
    assert "<script>alert" not in html(response)
    assert MARKUP in text_of(response)
