import re
from datetime import timedelta

import pytest
from django.urls import reverse

from django_bgtasks.admin import worker as worker_admin
from django_bgtasks.models import Worker
from django_bgtasks.store.engines import get_engine
from tests.admin.pages import (
    MARKUP,
    act,
    cells,
    changelist,
    delete,
    field,
    log_entries,
    page,
    said,
    text_of,
    utc,
)
from tests.factories import living_worker, make_running

pytestmark = pytest.mark.django_db


def test_without_workers_there_is_a_page_too(admin_client):
    assert "0 workers" in text_of(admin_client.get(changelist("worker")))


def test_the_list_says_who_is_there(admin_client):
    now = get_engine().now()
    busy = living_worker(
        hostname="box",
        pid=7654321,
        memory=50 * 2**20,
        version="9.9",
        queues=["mail", "slow"],
        threads=3,
        started_at=utc(2025, 7, 1, 10, 0, 5),
        heartbeat_at=now - timedelta(hours=2, seconds=5),
    )
    living_worker(hostname="other")
    for _ in range(2):
        make_running(busy.pk)
    response = admin_client.get(changelist("worker"))
    assert cells(response, "hostname") == ["box", "other"]
    assert cells(response, "pid")[0] == "7654321"
    assert cells(response, "queue_names") == ["mail, slow", "all"]
    assert cells(response, "threads") == ["3", "4"]
    assert cells(response, "heartbeat_age")[0] == "2 h ago"
    assert cells(response, "state") == ["Lost", "Live"]
    assert cells(response, "jobs_now") == ["2", "0"]
    assert cells(response, "memory_taken") == ["50.0 MB", "-"]
    assert cells(response, "uptime")[1].endswith("s")
    assert cells(response, "version") == ["9.9", "-"]


def test_heartbeats_are_told_by_the_clock_they_are_written_with(
    admin_client, monkeypatch
):
    """Another host's clock would tell another age."""
    worker = living_worker()
    later = worker.heartbeat_at + timedelta(days=3, hours=1)
    monkeypatch.setattr(type(get_engine()), "now", lambda engine: later)
    response = admin_client.get(changelist("worker"))
    assert cells(response, "heartbeat_age") == ["3 d 1 h ago"]


@pytest.mark.parametrize("count", [1, 20])
def test_the_number_of_queries_does_not_depend_on_the_workers(
    admin_client, count, django_assert_max_num_queries
):
    for _ in range(count):
        worker = living_worker()
        make_running(worker.pk)
    # Session, user, the clock twice, what is left of dead ones, two counts, a page.
    with django_assert_max_num_queries(9):
        admin_client.get(changelist("worker"))
    for _ in range(count):
        make_running(worker.pk)
    # Session, user, the clock twice, the row, its jobs.
    with django_assert_max_num_queries(6):
        admin_client.get(page(worker))


def test_workers_are_neither_made_nor_edited_nor_deleted(admin_client):
    worker = living_worker()
    assert 'name="_save"' not in admin_client.get(page(worker)).content.decode()
    assert admin_client.get(changelist("worker") + "add/").status_code == 403
    assert admin_client.post(page(worker), {"pid": "1"}).status_code == 403
    assert admin_client.post(page(worker, "delete"), {"post": "1"}).status_code == 403
    act(admin_client, "delete_selected", [worker], model="worker")
    delete(admin_client, [worker], model="worker")
    assert list(Worker.objects.all()) == [worker]


def press(client, button, worker):
    url = reverse(f"admin:django_bgtasks_worker_{button}", args=[worker.pk])
    return client.post(url)


def buttons(response):
    found = re.findall(
        r"worker/[^/]+/(\w+)/\"[^>]* class=\"bgtasks-button", html(response)
    )
    return set(found)


def html(response):
    return response.content.decode()


@pytest.mark.parametrize(
    ("button", "instruction", "message", "state"),
    [
        (
            "quiet",
            "quiet",
            "1 worker claims nothing more, and goes on with what it has.",
            "Quiet",
        ),
        (
            "drain",
            "drain",
            "1 worker claims nothing more, and ends when its jobs have.",
            "Draining",
        ),
        ("stop", "stop", "1 worker stops.", "Stopping"),
    ],
)
def test_a_worker_is_steered(admin_client, button, instruction, message, state):
    worker, other = living_worker(), living_worker()
    response = press(admin_client, button, worker)
    assert said(response) == [message]
    assert response.url == page(worker)
    worker.refresh_from_db()
    other.refresh_from_db()
    assert (worker.instruction, other.instruction) == (instruction, "")
    assert field(admin_client.get(page(worker)), "state") == state
    (entry,) = log_entries()
    assert entry[0] == str(worker.pk)
    assert entry[2].startswith("Told to ")


def test_what_was_told_can_be_told_otherwise_but_for_an_end(admin_client):
    worker = living_worker()
    assert buttons(admin_client.get(page(worker))) == {"quiet", "drain", "stop"}
    press(admin_client, "quiet", worker)
    assert buttons(admin_client.get(page(worker))) == {"resume", "drain", "stop"}
    assert said(press(admin_client, "resume", worker)) == ["1 worker claims again."]
    press(admin_client, "stop", worker)
    assert buttons(admin_client.get(page(worker))) == set()
    (message,) = said(press(admin_client, "resume", worker))
    assert message.startswith("1 worker was left as it was")
    worker.refresh_from_db()
    assert worker.instruction == "stop"


def test_a_lost_worker_has_no_buttons(admin_client):
    worker = living_worker(heartbeat_at=get_engine().now() - timedelta(hours=1))
    assert buttons(admin_client.get(page(worker))) == set()


def test_selected_workers_are_steered(admin_client):
    workers = [living_worker(), living_worker(), living_worker(instruction="quiet")]
    response = act(admin_client, "quiet_selected", workers, model="worker")
    assert len(said(response)) == 2
    assert said(response)[0].startswith("2 workers claim nothing more")
    assert len(log_entries()) == 2
    for action, instruction in (
        ("resume_selected", ""),
        ("drain_selected", "drain"),
        ("stop_selected", "stop"),
    ):
        act(admin_client, action, workers, model="worker")
        assert set(Worker.objects.values_list("instruction", flat=True)) == {
            instruction
        }


def test_steering_needs_its_permission(member):
    worker = living_worker()
    viewer = member("view_worker", "change_worker")
    assert buttons(viewer.get(page(worker))) == set()
    assert "_selected_action" not in html(viewer.get(changelist("worker")))
    for button in ("quiet", "resume", "drain", "stop"):
        assert press(viewer, button, worker).status_code == 403
        act(viewer, f"{button}_selected", [worker], model="worker")
    worker.refresh_from_db()
    assert worker.instruction == ""
    press(member("view_worker", "steer_worker"), "quiet", worker)
    worker.refresh_from_db()
    assert worker.instruction == "quiet"


def test_buttons_are_posted(admin_client):
    worker = living_worker()
    url = reverse("admin:django_bgtasks_worker_stop", args=[worker.pk])
    assert admin_client.get(url).status_code == 405
    worker.delete()
    assert admin_client.post(url).status_code == 404


def test_its_page_has_its_jobs(admin_client, member, monkeypatch):
    monkeypatch.setattr(worker_admin, "JOB_LIMIT", 2)
    worker = living_worker()
    jobs = [make_running(worker.pk, task=MARKUP) for _ in range(3)]
    make_running()
    response = admin_client.get(page(worker))
    shown = [job for job in jobs if page(job) in html(response)]
    assert shown == jobs[:2]
    assert "Jobs that it has: 3" in text_of(response)
    assert "The 2 that began first are shown." in text_of(response)
    assert "<script>alert" not in html(response)
    # Who may not see jobs sees how many there are.
    response = member("view_worker").get(page(worker))
    assert "Jobs that it has: 3" in text_of(response)
    assert page(jobs[0]) not in html(response)


def test_who_may_see_them(member, client):
    worker = living_worker()
    viewer, nobody = member("view_worker"), member()
    for url in (changelist("worker"), page(worker)):
        assert viewer.get(url).status_code == 200
        assert nobody.get(url).status_code == 403
        assert client.get(url).url.startswith("/admin/login/")


def test_a_name_is_text(admin_client):
    living_worker(hostname=MARKUP, queues=[MARKUP])
    response = admin_client.get(changelist("worker"))
    assert "<script>alert" not in response.content.decode()
    assert cells(response, "hostname") == cells(response, "queue_names") == [MARKUP]


def test_an_empty_list_says_how_to_start_one(admin_client):
    assert "Start one: manage.py run_tasks" in text_of(
        admin_client.get(changelist("worker"))
    )
    living_worker()
    assert "Start one" not in text_of(admin_client.get(changelist("worker")))


def test_what_a_newer_version_has_told_is_shown_as_it_is(admin_client):
    worker = living_worker(instruction="<nap>")
    assert cells(admin_client.get(changelist("worker")), "state") == ["<nap>"]
    shown = admin_client.get(page(worker))
    assert field(shown, "state") == "<nap>"
    assert "Resume" in text_of(shown)
    dashboard = admin_client.get(changelist("dashboard"))
    assert "<nap>" in text_of(dashboard)
