from datetime import timedelta

import pytest

from django_bgtasks.models import Worker
from django_bgtasks.store.engines import get_engine
from tests.admin.pages import (
    MARKUP,
    act,
    cells,
    changelist,
    delete,
    page,
    text_of,
    utc,
)
from tests.factories import living_worker

pytestmark = pytest.mark.django_db


def test_without_workers_there_is_a_page_too(admin_client):
    assert "0 workers" in text_of(admin_client.get(changelist("worker")))


def test_the_list_says_who_is_there(admin_client):
    now = get_engine().now()
    living_worker(
        hostname="box",
        pid=7654321,
        queues=["mail", "slow"],
        threads=3,
        started_at=utc(2025, 7, 1, 10, 0, 5),
        heartbeat_at=now - timedelta(hours=2, seconds=5),
    )
    living_worker(hostname="other")
    response = admin_client.get(changelist("worker"))
    assert cells(response, "hostname") == ["box", "other"]
    assert cells(response, "pid")[0] == "7654321"
    assert cells(response, "queue_names") == ["mail, slow", "all"]
    assert cells(response, "threads") == ["3", "4"]
    assert cells(response, "started")[0] == "2025-07-01 12:00:05"
    assert cells(response, "heartbeat_age")[0] == "2 h 0 min ago"


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
        living_worker()
    # Session, user, the database's clock, two counts, a page.
    with django_assert_max_num_queries(6):
        admin_client.get(changelist("worker"))


def test_workers_are_only_looked_at(admin_client):
    worker = living_worker()
    html = admin_client.get(changelist("worker")).content.decode()
    assert "_selected_action" not in html
    assert 'name="_save"' not in admin_client.get(page(worker)).content.decode()
    assert admin_client.get(changelist("worker") + "add/").status_code == 403
    assert admin_client.post(page(worker), {"pid": "1"}).status_code == 403
    assert admin_client.post(page(worker, "delete"), {"post": "1"}).status_code == 403
    act(admin_client, "delete_selected", [worker], model="worker")
    delete(admin_client, [worker], model="worker")
    assert list(Worker.objects.all()) == [worker]


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
