import json
import time
from urllib.error import HTTPError, URLError

import pytest
from django.urls import reverse

from django_bgtasks.models import Job
from webhooks import receiver
from webhooks.models import ReceivedEvent, Webhook
from webhooks.sender import RefusedError
from webhooks.signing import sign
from webhooks.tasks import deliver_webhook

pytestmark = pytest.mark.django_db

EVENT = {"event": Webhook.Event.PAID, "order_number": "A1"}


@pytest.fixture
def site(live_server, settings):
    settings.SITE_URL = live_server.url
    settings.WEBHOOK_FAILURE_RATE = 0.0
    return live_server


def call(client, payload, timestamp=None, signature=None):
    body = json.dumps(payload).encode()
    timestamp = str(int(time.time())) if timestamp is None else timestamp
    return client.post(
        reverse("webhooks:receive"),
        body,
        content_type="application/json",
        headers={
            "X-Timestamp": timestamp,
            "X-Signature": sign(body, timestamp) if signature is None else signature,
            "X-Attempt": "1",
        },
    )


def test_endpoint_takes_a_signed_event_once(client, settings):
    settings.WEBHOOK_FAILURE_RATE = 0.0
    payload = Webhook(**EVENT).payload

    assert call(client, payload).status_code == 204
    assert call(client, payload).status_code == 204

    assert ReceivedEvent.objects.get().payload == payload


def test_endpoint_fails_on_purpose_without_a_word_in_the_log(client, settings, caplog):
    settings.WEBHOOK_FAILURE_RATE = 1.0

    assert call(client, Webhook(**EVENT).payload).status_code == 500
    assert client.get("/nowhere/").status_code == 404

    assert [record.getMessage() for record in caplog.records] == [
        "Not Found: /nowhere/"
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"signature": ""},
        {"signature": "0" * 64},
        {"signature": "ä"},
        {"timestamp": str(int(time.time()) - 3600)},
        {"timestamp": "now"},
        {"timestamp": ""},
    ],
)
def test_endpoint_refuses_what_is_not_signed_just_now(client, wrong):
    assert call(client, Webhook(**EVENT).payload, **wrong).status_code == 403
    assert not ReceivedEvent.objects.exists()


def test_endpoint_fails_as_often_as_told_and_repeatably(settings):
    settings.WEBHOOK_FAILURE_RATE = 0.6
    draws = [receiver.is_down_for(number, "1") for number in range(1000)]

    assert 550 < sum(draws) < 650
    assert draws == [receiver.is_down_for(number, "1") for number in range(1000)]


def test_an_answer_of_500_raises(site, settings):
    settings.WEBHOOK_FAILURE_RATE = 1.0
    webhook = Webhook.objects.create(**EVENT)

    with pytest.raises(HTTPError, match="500"):
        deliver_webhook.now(webhook.pk)


def test_no_answer_raises(settings):
    settings.SITE_URL = "http://127.0.0.1:1"
    webhook = Webhook.objects.create(**EVENT)

    with pytest.raises(URLError):
        deliver_webhook.now(webhook.pk)


def test_a_failing_endpoint_is_tried_again_until_it_accepts(
    client, site, drain, pass_time, monkeypatch
):
    monkeypatch.setattr(receiver, "is_down_for", lambda event, attempt: attempt < "3")
    page = client.post(reverse("webhooks:index"), EVENT).headers["Location"]

    for expected in (Job.Status.SCHEDULED, Job.Status.SCHEDULED, Job.Status.SUCCESSFUL):
        drain()
        assert Job.objects.get().status == expected
        pass_time()

    job = Job.objects.get()
    assert (job.attempt, job.result) == (3, {"answer": 204})
    assert [attempt.number for attempt in job.attempts.all()] == [1, 2]
    html = client.get(page).content.decode()
    assert html.count("HTTP Error 500") == 2
    assert "on attempt 3" in html


def test_a_refusal_is_final(client, site, drain, monkeypatch):
    monkeypatch.setattr(receiver, "is_genuine", lambda *arguments: False)
    client.post(reverse("webhooks:index"), EVENT)
    drain()

    job = Job.objects.get()
    assert (job.status, job.attempt) == (Job.Status.FAILED, 1)
    assert RefusedError.__name__ in job.attempts.get().error


def test_order_numbers_are_checked(client):
    response = client.post(
        reverse("webhooks:index"), EVENT | {"order_number": "<b>A1</b>"}
    )

    assert b"errorlist" in response.content
    assert not Job.objects.exists()
