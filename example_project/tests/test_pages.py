import re
from uuid import uuid4

import pytest
from django.conf import settings
from django.urls import reverse

from django_bgtasks.models import Job
from newsletter.models import Newsletter, Subscriber
from newsletter.tasks import send_newsletter

pytestmark = pytest.mark.django_db

PAGES = [
    "home",
    "pictures:index",
    "newsletter:index",
    "newsletter:subscribers",
    "newsletter:outbox",
    "sales:imports",
    "sales:reports",
    "webhooks:index",
]


@pytest.mark.parametrize("name", PAGES)
def test_pages_load_nothing_from_elsewhere_and_no_inline_script(client, name):
    html = client.get(reverse(name)).content.decode()

    assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', html)
    assert re.findall(r"<script[^>]*>[^<]", html) == []
    assert re.findall(r'\son\w+="', html) == []


def test_home_lists_the_newest_jobs_first(client):
    first, second = send_newsletter(1), send_newsletter(2)

    html = client.get(reverse("home")).content.decode()

    assert 0 < html.index(second.id) < html.index(first.id)
    assert "newsletter.send_newsletter" in html


def test_job_page_does_not_show_arguments(client):
    job = send_newsletter("a secret")

    response = client.get(reverse("job", args=[job.id]))

    assert response.status_code == 200
    assert b"a secret" not in response.content


def test_job_page_of_an_unknown_job_is_not_found(client):
    assert client.get(reverse("job", args=[uuid4()])).status_code == 404


def test_status_tells_status_progress_and_result_only(client):
    job = send_newsletter(1)

    response = client.get(reverse("job_status"), {"id": [job.id, uuid4()]})

    assert response.json() == {
        "jobs": {
            job.id: {
                "status": "READY",
                "attempt": 0,
                "progress": None,
                "result": None,
            }
        }
    }
    assert "no-store" in response.headers["Cache-Control"]


def test_status_refuses_what_is_no_id(client):
    response = client.get(reverse("job_status"), {"id": "1 OR 1=1"})

    assert response.status_code == 400


def test_status_answers_for_a_limited_number_of_jobs(client):
    ids = [send_newsletter(number).id for number in range(60)]

    response = client.get(reverse("job_status"), {"id": ids})

    assert len(response.json()["jobs"]) == 50


def test_a_page_outlives_the_record_of_its_job(client):
    newsletter = Newsletter.objects.create(subject="News", body="None")
    newsletter.start(send_newsletter)
    Job.objects.all().delete()

    response = client.get(reverse("newsletter:detail", args=[newsletter.pk]))

    assert "no longer on record" in response.content.decode()


def test_what_visitors_type_is_escaped(client):
    attack = "<script>alert(1)</script>"
    newsletter = Newsletter.objects.create(subject=attack, body=attack)
    Subscriber.objects.create(name=attack, email="a@example.com")

    for url in (
        reverse("newsletter:index"),
        reverse("newsletter:detail", args=[newsletter.pk]),
        reverse("newsletter:subscribers"),
    ):
        html = client.get(url).content.decode()
        assert attack not in html
        assert "&lt;script&gt;" in html


def test_uploads_are_stored_where_nothing_is_served():
    private = settings.STORAGES["private"]["OPTIONS"]["location"]

    assert not private.is_relative_to(settings.MEDIA_ROOT)
    assert not settings.OUTBOX_DIR.is_relative_to(settings.MEDIA_ROOT)
