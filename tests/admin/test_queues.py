import re
from datetime import timedelta
from html import unescape
from urllib.parse import urljoin

import pytest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from django_bgtasks.admin import queue_actions
from django_bgtasks.admin.queue import QueueAdmin
from django_bgtasks.models import Job, Queue
from django_bgtasks.store import queues
from django_bgtasks.wording import moment
from tests.admin.pages import (
    MARKUP,
    cells,
    changelist,
    field,
    job_that_is,
    local,
    log_entries,
    page,
    said,
    text_of,
)
from tests.factories import make_job, make_jobs
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db


@pytest.fixture
def mail():
    return Queue.objects.create(name="mail")


@pytest.fixture
def paused():
    queues.pause("slow")
    return Queue.objects.get(name="slow")


def paused_names():
    return set(Queue.objects.exclude(paused_at=None).values_list("name", flat=True))


def press(client, button, name, **data):
    url = reverse(f"admin:django_bgtasks_queue_{button}", args=[name])
    return client.post(url, data)


def listed(response):
    return dict(zip(cells(response, "name"), cells(response, "state"), strict=True))


def row(response, name):
    index = cells(response, "name").index(name)
    columns = ("waiting", "oldest", "scheduled", "running", "failed")
    return [cells(response, column)[index] for column in columns]


def test_the_list_has_the_queues_of_tasks_of_jobs_and_of_rows(
    admin_client, mail, paused
):
    make_job(queue="of jobs")
    queues_of = listed(admin_client.get(changelist("queue")))
    assert {"mail", "slow", "of jobs", sample.add.queue_name} <= set(queues_of)
    assert queues_of["mail"] == "Active"
    assert queues_of["slow"] == "Paused"


def test_it_says_what_is_on_each(admin_client):
    now = timezone.now()
    make_jobs(
        2, queue_of=lambda n: "mail", enqueued_at=now - timedelta(minutes=2, seconds=2)
    )
    job_that_is("SCHEDULED", queue="mail")
    job_that_is("RUNNING", queue="mail")
    job_that_is("FAILED", queue="mail")
    response = admin_client.get(changelist("queue"))
    assert row(response, "mail") == ["2", "2 min 2 s", "1", "1", "1"]
    shown = admin_client.get(page(Queue(name="mail")))
    assert "Waiting 2 Oldest due 2 min 2 s Scheduled 1 Running 1" in text_of(shown)


def test_pause_and_resume_without_a_row(admin_client):
    make_job(queue="a b/c")
    response = press(admin_client, "pause", "a b/c")
    assert said(response) == ["Queue a b/c was paused."]
    assert response.url.endswith("/queue/a%20b_2Fc/change/")
    assert paused_names() == {"a b/c"}
    assert listed(admin_client.get(changelist("queue")))["a b/c"] == "Paused"
    assert "Jobs now" in text_of(admin_client.get(response.url))
    response = press(admin_client, "resume", "a b/c", in_list="")
    assert said(response) == ["Queue a b/c was resumed."]
    assert response.url == changelist("queue")
    assert paused_names() == set()
    assert log_entries() == {
        ("a b/c", "Change", "Paused."),
        ("a b/c", "Change", "Resumed."),
    }
    response = press(admin_client, "resume", "a b/c")
    assert said(response) == ["Queue a b/c was not paused."]


def test_pause_for_a_while(admin_client, mail):
    before = timezone.now()
    response = press(admin_client, "pause", "mail", span="900")
    mail.refresh_from_db()
    length = mail.resume_at - before
    assert timedelta(minutes=15) <= length < timedelta(minutes=16)
    until = moment(mail.resume_at)
    assert said(response) == [f"Queue mail was paused until {until}."]
    assert log_entries() == {("mail", "Change", f"Paused until {until}.")}
    state = listed(admin_client.get(changelist("queue")))["mail"]
    assert state.startswith("Paused until ")


def test_pause_until_a_time(admin_client, paused):
    """The clock of the site's zone; since when it is paused is not forgotten."""
    press(admin_client, "pause", "slow", until="2089-07-01T10:30", span="900")
    row = Queue.objects.get()
    assert local(row.resume_at).strftime("%Y-%m-%d %H:%M") == "2089-07-01 10:30"
    assert row.paused_at == paused.paused_at


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"until": "2020-01-01T00:00"}, "This time has passed already."),
        ({"until": "soon"}, "Enter a valid date/time."),
        ({"until": "9999-12-31T23:59"}, "Enter a valid date/time."),
        ({"span": "7"}, "Select a valid choice."),
    ],
)
def test_a_pause_that_cannot_be(admin_client, mail, data, problem):
    response = press(admin_client, "pause", "mail", **data)
    (message,) = said(response)
    assert problem in message
    assert paused_names() == set()
    assert log_entries() == set()


def test_clear_asks_first_and_cancels_what_waits(admin_client):
    make_jobs(3, queue_of=lambda n: "mail")
    job_that_is("SCHEDULED", queue="mail")
    job_that_is("RUNNING", queue="mail")
    make_job(queue="other")
    shown = text_of(admin_client.get(page(Queue(name="mail"))))
    assert "Jobs that are scheduled or ready: 4. Cancel them all?" in shown
    response = press(admin_client, "clear", "mail")
    assert said(response) == ["4 jobs were cancelled."]
    cancelled = Job.objects.cancelled()
    assert {job.queue for job in cancelled} == {"mail"}
    assert {job.cancel_requested_by for job in cancelled} == {"admin"}
    assert Job.objects.filter(queue="mail").running().count() == 1
    assert Job.objects.filter(queue="other").ready().exists()
    assert log_entries() == {("mail", "Change", "Cleared: 4 jobs were cancelled.")}
    assert said(press(admin_client, "clear", "mail")) == [
        "No job waited on queue mail."
    ]


def test_clear_takes_no_more_than_its_limit(admin_client, monkeypatch):
    monkeypatch.setattr(queue_actions, "CLEAR_LIMIT", 1000)
    make_jobs(1700, queue_of=lambda n: "mail")
    shown = text_of(admin_client.get(page(Queue(name="mail"))))
    assert "scheduled or ready: more than 1,000" in shown
    assert said(press(admin_client, "clear", "mail")) == [
        "1000 jobs were cancelled.",
        "So many wait still: 700. Clear it once more for those.",
    ]
    assert Job.objects.ready().count() == 700


def test_a_queue_is_added_by_name_only(admin_client):
    add = changelist("queue") + "add/"
    data = {"name": "new", "paused_at_0": "2020-01-01", "paused_at_1": "00:00"}
    assert admin_client.post(add, data).status_code == 302
    assert Queue.objects.get().paused_at is None
    assert "already exists" in text_of(admin_client.post(add, data))
    press(admin_client, "pause", "new")
    assert paused_names() == {"new"}


def test_nothing_can_be_edited(admin_client, mail):
    response = admin_client.get(page(mail))
    assert field(response, "state") == "Active"
    assert 'name="_save"' not in response.content.decode()
    data = {"name": "other", "paused_at_0": "2020-01-01", "paused_at_1": "00:00"}
    assert admin_client.post(page(mail), data).status_code == 403
    assert Queue.objects.get().paused_at is None


def test_a_paused_queue_cannot_be_deleted(admin_client, mail, paused):
    """It would not be paused any more."""
    for queue in (paused, Queue(name=sample.add.queue_name)):
        response = admin_client.post(page(queue, "delete"), {"post": "yes"})
        assert response.status_code == 403
    assert admin_client.post(page(mail, "delete"), {"post": "yes"}).status_code == 302
    assert list(Queue.objects.all()) == [paused]


def test_what_nobody_knows_has_no_page(admin_client):
    assert admin_client.get(page(Queue(name="gone"))).status_code == 302
    for button in ("pause", "resume", "clear"):
        assert press(admin_client, button, "gone").status_code == 404
    assert not Queue.objects.exists()


BUTTONS = {"pause", "resume", "clear"}


@pytest.mark.parametrize(
    ("permission", "buttons"),
    [
        ("view_queue", set()),
        ("change_queue", set()),
        ("pause_queue", {"pause", "resume"}),
        ("cancel_job", {"clear"}),
    ],
)
def test_each_button_needs_its_permission(member, mail, paused, permission, buttons):
    make_job(queue="mail")
    client = member("view_queue", *({permission} - {"view_queue"}))
    for url in (changelist("queue"), page(mail), page(paused)):
        html = client.get(url).content.decode()
        offered = {button for button in BUTTONS if f"/{button}/" in html}
        assert offered <= buttons
    codes = {
        press(client, "pause", "mail").status_code: "pause",
        press(client, "resume", "slow").status_code: "resume",
    }
    assert set(codes) == {302 if "pause" in buttons else 403}
    assert press(client, "clear", "mail").status_code == (
        302 if "clear" in buttons else 403
    )
    assert paused_names() == ({"mail"} if "pause" in buttons else {"slow"})
    assert Job.objects.ready().exists() == ("clear" not in buttons)


def test_buttons_are_posted(admin_client, mail):
    for button in BUTTONS:
        url = reverse(f"admin:django_bgtasks_queue_{button}", args=["mail"])
        assert admin_client.get(url).status_code == 405


def test_staff_without_permissions_see_nothing(member, mail):
    client = member()
    assert client.get(changelist("queue")).status_code == 403
    assert client.get(page(mail)).status_code == 403


def test_links_to_jobs_are_for_those_who_may_view_them(member, admin_client, mail):
    link = "/django_bgtasks/job/?queue=mail"
    blind = member("view_queue")
    for url in (changelist("queue"), page(mail)):
        assert link in admin_client.get(url).content.decode()
        assert link not in blind.get(url).content.decode()


@pytest.mark.parametrize("count", [1, 30])
def test_the_number_of_queries_does_not_depend_on_the_queues(
    admin_client, count, django_assert_max_num_queries
):
    for n in range(count):
        Queue.objects.create(name=f"q{n}")
        make_job(queue=f"q{n}")
    # Session, user, three of Django's list; the clock, running jobs, rows twice, ready
    # queues, and all counts.
    with django_assert_max_num_queries(11):
        admin_client.get(changelist("queue"))
    # Session, user, row; the figures, and two counts of what clearing would cancel.
    with django_assert_max_num_queries(11):
        admin_client.get(page(Queue(name="q0")))


def test_a_name_is_text(admin_client):
    queue = Queue.objects.create(name=MARKUP)
    response = admin_client.get(changelist("queue"))
    assert "<script>alert" not in response.content.decode()
    assert MARKUP in cells(response, "name")
    assert "<script>alert" not in admin_client.get(page(queue)).content.decode()


NAMES = (
    *("a/b", "/", "../up", "%2e%2e", "50 %", "_2F", "a\\b", "a?b=c", "#1", "x;y=z"),
    *("'quoted'", '"double"', "<b>", "add", "x/pause", "…", "队列", "🐇", "a\nb"),
)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_leads_to_its_page(admin_client, name):
    """As a browser resolves it: a part of a path that is dots is gone."""
    make_job(queue=name)
    here = f"http://testserver{changelist('queue')}"
    queue = unescape(
        re.search(
            rf'<a href="([^"]*)">{re.escape(escape(name))}</a></th>',
            admin_client.get(here).content.decode(),
        )[1]
    )
    shown = admin_client.get(urljoin(here, queue))
    assert shown.context["original"].name == name
    action = re.search(r'action="([^"]*/pause/)"', shown.content.decode())[1]
    response = admin_client.post(urljoin(here, unescape(action)))
    assert said(response) == [f"Queue {name} was paused."]
    assert paused_names() == {name}


@pytest.mark.parametrize("name", [".", "..", ". ."])
def test_a_name_that_no_address_can_have_is_refused(admin_client, name):
    response = admin_client.post(changelist("queue") + "add/", {"name": name})
    assert "more than dots and spaces" in text_of(response)
    assert not Queue.objects.exists()


def test_many_queues_are_shown_page_by_page(admin_client, monkeypatch):
    monkeypatch.setattr(QueueAdmin, "list_per_page", 2)
    for name in ("mail", "Mail b", "slow", "x"):
        queues.pause(name)
    listed_on = {
        n: cells(admin_client.get(changelist("queue"), {"p": n}), "name")
        for n in (1, 2)
    }
    assert listed_on == {1: ["Mail b", "default"], 2: ["mail", "slow"]}
    response = admin_client.get(changelist("queue"), {"p": 9})
    assert response.url.endswith("?e=1")
    response = admin_client.get(changelist("queue"), {"q": "MAIL"})
    assert cells(response, "name") == ["Mail b", "mail"]
    assert cells(admin_client.get(changelist("queue"), {"q": "mail z"}), "name") == []
    address = re.search(r'name="in_list" value="([^"]*)"', response.content.decode())[1]
    response = press(admin_client, "resume", "mail", in_list=unescape(address))
    assert response.url == changelist("queue") + "?q=MAIL"
