import asyncio
import json
from contextlib import aclosing
from functools import partial
from itertools import count
from types import SimpleNamespace

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.core.signing import Signer
from django.db import connections
from django.test import AsyncClient
from django.urls import reverse
from django.utils import translation

from django_bgtasks.models import Job
from django_bgtasks.tickets import Ticket
from django_bgtasks.views import status as views
from tests.admin.pages import job_that_is

pytestmark = pytest.mark.django_db

SECRET = "hunter22"


@pytest.fixture
def ann():
    return User.objects.create_user("ann", password="secret")


@pytest.fixture
def bob():
    return User.objects.create_user("bob", password="secret")


def url_of(job, owner=None, view="job_status", shows_result=False):
    owner = None if owner is None else str(owner.pk)
    ticket = Ticket(job.pk, owner, shows_result)
    return reverse(f"django_bgtasks:{view}", args=[ticket.sign()])


def sensitive_job(**columns):
    return job_that_is(
        "RUNNING",
        task="tests.sample.tasks.pay",
        args=["ann", SECRET],
        kwargs={"how": "message"},
        progress={"done": 1, "total": 2, "message": f"charging {SECRET}"},
        **columns,
    )


# -- who may look

VIEWS = pytest.mark.parametrize("view", ["job_status", "job_events"])


@VIEWS
def test_the_owner_may_look(client, ann, view):
    job = job_that_is("RUNNING")
    client.force_login(ann)
    response = client.get(url_of(job, ann, view))
    assert response.status_code == 200
    assert str(job.pk) in response.text
    assert "no-store" in response["Cache-Control"]


@VIEWS
def test_nobody_else_may(client, ann, bob, view):
    url = url_of(job_that_is("RUNNING"), ann, view)
    assert client.get(url).status_code == 403
    client.force_login(bob)
    response = client.get(url)
    assert response.status_code == 403
    assert response.json() == {"error": "The job is somebody else's."}


@VIEWS
def test_a_ticket_without_an_owner_is_for_who_has_it(client, ann, view):
    url = url_of(job_that_is("READY"), None, view)
    assert client.get(url).status_code == 200
    client.force_login(ann)
    assert client.get(url).status_code == 200


@VIEWS
def test_a_forged_ticket_is_refused(client, ann, view):
    job, other = job_that_is("READY"), job_that_is("READY")
    client.force_login(ann)
    payload, signature = Ticket(job.pk, str(ann.pk)).sign().split(":")
    another, _ = Ticket(other.pk, None).sign().split(":")
    elsewhere = Signer(salt="elsewhere").sign_object([other.pk.hex, None, 0])
    for ticket in (f"{another}:{signature}", payload, str(other.pk), elsewhere):
        url = reverse(f"django_bgtasks:{view}", args=[ticket])
        response = client.get(url)
        assert response.status_code == 403
        assert response.json() == {"error": "This is no ticket of this site."}


@VIEWS
def test_they_only_read(client, view):
    assert client.post(url_of(job_that_is("READY"), view=view)).status_code == 405


@VIEWS
def test_a_site_that_is_for_members_only_leaves_the_check_to_the_ticket(
    client, settings, view
):
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    assert client.get(url_of(job_that_is("READY"), view=view)).status_code == 200


@VIEWS
def test_a_site_without_users_has_tickets_without_owners(client, settings, ann, view):
    settings.MIDDLEWARE = []
    job = job_that_is("READY")
    assert client.get(url_of(job, None, view)).status_code == 200
    assert client.get(url_of(job, ann, view)).status_code == 403


@VIEWS
def test_atomic_requests_are_in_nobodys_way(client, monkeypatch, view):
    for alias in connections:
        monkeypatch.setitem(connections[alias].settings_dict, "ATOMIC_REQUESTS", True)
    assert client.get(url_of(job_that_is("READY"), view=view)).status_code == 200


# -- what it says


def test_the_status_as_json(client):
    job = job_that_is("RUNNING", progress={"done": 1, "total": 4, "message": "<b>"})
    shown = client.get(url_of(job)).json()
    assert shown["status"] == "RUNNING"
    assert shown["percent"] == 25
    assert shown["progress"]["message"] == "<b>"
    assert "result" not in shown


@VIEWS
def test_a_job_that_is_no_more(client, view):
    url = url_of(Job(), view=view)
    response = client.get(url)
    assert response.status_code == 404
    assert response.json() == {"error": "The job is no more."}


@VIEWS
@pytest.mark.parametrize("shows_result", [True, False])
def test_nothing_sensitive_is_said(client, view, shows_result):
    response = client.get(url_of(sensitive_job(), None, view, shows_result))
    assert response.status_code == 200
    assert SECRET not in response.text
    assert "charging ****" in response.text


@VIEWS
def test_a_result_is_shown_only_if_the_page_has_asked_for_it(client, view):
    job = job_that_is("SUCCESSFUL", result={"months": 12})
    assert "months" in client.get(url_of(job, None, view, True)).text
    assert "months" not in client.get(url_of(job, None, view)).text


def test_looking_takes_few_queries(client, ann, django_assert_num_queries):
    job = job_that_is("RUNNING", progress={"done": 1, "total": 2, "message": ""})
    client.force_login(ann)
    # The session, the user, the job.
    with django_assert_num_queries(3):
        client.get(url_of(job, ann))
    with django_assert_num_queries(1):
        client.get(url_of(job))


# -- events without a stream


def test_under_wsgi_each_event_is_a_request(client):
    response = client.get(url_of(job_that_is("READY"), view="job_events"))
    assert not response.streaming
    assert response["Content-Type"] == "text/event-stream"
    retry, data = response.text.strip().split("\n\n")
    assert retry == "retry: 2000"
    assert json.loads(data.removeprefix("data: "))["status"] == "READY"


# -- events as a stream


@pytest.fixture
def stream(monkeypatch):
    """What a page hears: what happens to the job is done between two events."""
    monkeypatch.setattr(views, "PAUSE", 0.001)

    def listen(url, *happenings, client=None, then=None):
        async def collect():
            response = await (client or AsyncClient()).get(url)
            assert response.status_code == 200
            assert response["Content-Type"] == "text/event-stream"
            assert response["X-Accel-Buffering"] == "no"
            heard, left = [], list(happenings)
            if then:
                translation.activate(then)
            async with aclosing(response.streaming_content) as events:
                async for event in events:
                    heard.append(event.decode().strip())
                    if heard[-1].startswith("data:") and left:
                        await sync_to_async(left.pop(0))()
            return heard

        return async_to_sync(collect)()

    return listen


def statuses(heard):
    data = [json.loads(e.removeprefix("data: ")) for e in heard if e[:5] == "data:"]
    return [(one["status"], one["percent"]) for one in data]


@pytest.mark.django_db(transaction=True)
def test_each_change_is_an_event_until_the_job_ends(stream):
    job = job_that_is("RUNNING")
    rows = Job.objects.filter(pk=job.pk)
    heard = stream(
        url_of(job, view="job_events"),
        lambda: rows.update(progress={"done": 1, "total": 2, "message": ""}),
        lambda: rows.update(status="SUCCESSFUL", finished_at=job.enqueued_at),
    )
    assert heard[0] == "retry: 1000"
    assert statuses(heard) == [("RUNNING", None), ("RUNNING", 50), ("SUCCESSFUL", 100)]
    assert len(heard) == 4


@pytest.mark.django_db(transaction=True)
def test_the_page_hears_that_the_job_is_no_more(stream):
    job = job_that_is("RUNNING")
    heard = stream(url_of(job, view="job_events"), job.delete)
    assert heard[-1].startswith("event: gone")


@pytest.mark.django_db(transaction=True)
def test_a_silent_stream_lives_and_ends(stream, monkeypatch):
    # Five seconds go by between two looks.
    clock = SimpleNamespace(monotonic=partial(next, count(0, 5)))
    monkeypatch.setattr(views, "time", clock)
    heard = stream(url_of(job_that_is("READY"), view="job_events"))
    assert statuses(heard) == [("READY", None)]
    assert heard.count(": still here") == 300 // 15 - 1


@pytest.mark.django_db(transaction=True)
def test_a_stream_is_for_the_owner(stream, ann, bob):
    job = job_that_is("SUCCESSFUL")
    url = url_of(job, ann, "job_events")
    client = AsyncClient()
    client.force_login(ann)
    assert statuses(stream(url, client=client)) == [("SUCCESSFUL", 100)]
    client.force_login(bob)
    assert async_to_sync(client.get)(url).status_code == 403
    assert async_to_sync(AsyncClient().get)(url).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_a_stream_speaks_the_language_of_the_request(stream, settings, monkeypatch):
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.middleware.locale.LocaleMiddleware",
    ]
    spoken = []
    look = views._look

    def listen_in(ticket):
        spoken.append(translation.get_language())
        return look(ticket)

    monkeypatch.setattr(views, "_look", listen_in)
    job = job_that_is("RUNNING")
    rows = Job.objects.filter(pk=job.pk)
    client = AsyncClient()
    client.cookies[settings.LANGUAGE_COOKIE_NAME] = "de"

    def end():
        rows.update(status="FAILED", finished_at=job.enqueued_at)

    # Whoever asks next, on the same thread, reads French.
    stream(url_of(job, view="job_events"), end, client=client, then="fr")
    assert set(spoken) == {"de"}
    assert len(spoken) > 1


@pytest.mark.django_db(transaction=True)
def test_who_only_listens_keeps_no_connection(monkeypatch):
    monkeypatch.setattr(views, "PAUSE", 0.001)
    url = url_of(job_that_is("READY"), view="job_events")

    async def listen():
        response = await AsyncClient().get(url)
        async with aclosing(response.streaming_content) as events:
            await anext(events)
            await anext(events)
            return await sync_to_async(lambda: connections["default"].connection)()

    assert asyncio.run(listen()) is None
