import re
from uuid import uuid4

import pytest
from django.conf import settings
from django.urls import reverse

from django_bgtasks.models import Job
from jobs.starting import STARTERS, start_some
from jobs.views import BUTTONS
from newsletter.models import Newsletter, Subscriber
from newsletter.tasks import send_newsletter
from sales.models import Import

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
    assert "Send newsletter" in html


def test_home_lists_what_people_have_started_only(client):
    started = send_newsletter(1)
    periodic = Job.objects.create(**columns_of(started), schedule="nightly")
    child = Job.objects.create(**columns_of(started), parent=started.id)

    html = client.get(reverse("home")).content.decode()

    assert started.id in html
    assert str(periodic.pk) not in html
    assert str(child.pk) not in html


def columns_of(result):
    names = ("task", "queue", "status", "backend", "max_attempts", "enqueued_at")
    return Job.objects.values(*names).get(pk=result.id)


@pytest.mark.parametrize(
    ("what", "task"),
    [
        ("import", "sales.tasks.import_sales"),
        ("newsletter", "newsletter.tasks.send_newsletter"),
        ("webhook", "webhooks.tasks.deliver_webhook"),
    ],
)
def test_each_button_starts_a_job(client, what, task):
    response = client.post(reverse("start", args=[what]))

    assert response.url == reverse("home")
    assert [job.task for job in Job.objects.all()] == [task]


def test_a_report_needs_something_to_report_on(client):
    url = reverse("start", args=["report"])
    assert "nothing to report on" in client.post(url, follow=True).content.decode()
    assert not Job.objects.exists()

    Import.objects.create(name="done", accepted=1, rejected=0)
    client.post(url)

    assert Job.objects.get().task == "sales.tasks.compute_report"


def test_the_buttons_are_for_post_and_there_are_no_others(client):
    assert client.get(reverse("start", args=["import"])).status_code == 405
    assert client.post(reverse("start", args=["everything"])).status_code == 404


def test_every_button_has_something_to_start():
    assert {what for what, _, _ in BUTTONS} == set(STARTERS)


def test_the_demo_begins_with_some_of_everything():
    start_some()

    assert Job.objects.ready().count() == 2
    assert Job.objects.scheduled().count() == 4


def test_a_page_follows_its_job(client):
    newsletter = Newsletter.objects.create(subject="News", body="None")
    newsletter.start(send_newsletter)

    html = client.get(
        reverse("newsletter:detail", args=[newsletter.pk])
    ).content.decode()
    url = re.search(r'data-bgtasks-poll="([^"]+)"', html)[1]

    assert client.get(url).json()["id"] == str(newsletter.job_id)
    assert "SUCCESSFUL" not in client.get(url).content.decode()


def test_job_page_does_not_show_arguments(client):
    job = send_newsletter("a secret")

    response = client.get(reverse("job", args=[job.id]))

    assert response.status_code == 200
    assert b"a secret" not in response.content


def test_job_page_of_an_unknown_job_is_not_found(client):
    assert client.get(reverse("job", args=[uuid4()])).status_code == 404


def test_a_page_outlives_the_record_of_its_job(client):
    newsletter = Newsletter.objects.create(subject="News", body="None")
    newsletter.start(send_newsletter)
    Job.objects.all().delete()

    response = client.get(reverse("newsletter:detail", args=[newsletter.pk]))

    assert "No longer on record" in response.content.decode()


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
