import json
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from urllib.parse import urlencode

import pytest
from django.contrib.admin.utils import quote
from django.urls import reverse
from django.utils import timezone

from django_bgtasks.admin.upcoming import upcoming
from django_bgtasks.models import Job, Schedule
from django_bgtasks.models.job import new_id
from django_bgtasks.rules import Rule
from django_bgtasks.store import schedules
from django_bgtasks.testing import capture_jobs
from tests.admin.pages import (
    MARKUP,
    act,
    cells,
    changelist,
    delete,
    field,
    job_that_is,
    listed,
    local,
    log_entries,
    said,
    text_of,
    utc,
)
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db

ADD = "tests.sample.tasks.add"
SENSITIVE = "tests.sample.tasks.pay"
#: Nothing comes of it while a test runs.
FAR = utc(2090, 7, 1, 3)


def make_schedule(name="nightly", **columns):
    columns = {"task": ADD, "args": [1], "cron": "0 3 * * *", **columns}
    return Schedule.objects.create(
        **{"name": name, "next_due": FAR, "last_due": None, **columns}
    )


def page(schedule, view="change"):
    name = f"admin:django_bgtasks_schedule_{view}"
    return reverse(name, args=[quote(schedule.pk)])


def filled_in(**fields):
    """What a browser posts of the form."""
    return {
        "name": "nightly",
        "task": ADD,
        "args": "[1]",
        "kwargs": "{}",
        "cron": "0 3 * * *",
        "every": "",
        "phase": "",
        "at_0": "",
        "at_1": "",
        "timezone": "",
        "start_0": "",
        "start_1": "",
        "end_0": "",
        "end_1": "",
        "queue_name": "",
        "priority": "",
        "jitter": "",
        "missed": "latest",
        "overlap": "allow",
        **fields,
    }


def add(client, **fields):
    return client.post(changelist("schedule") + "add/", filled_in(**fields))


def form_errors(response):
    assert response.status_code == 200
    return dict(response.context["adminform"].form.errors.items())


# -- the list


def test_without_schedules_there_is_a_page_too(admin_client):
    assert "0 schedules" in text_of(admin_client.get(changelist("schedule")))


def test_the_list_says_what_each_does(admin_client):
    job = job_that_is("FAILED")
    make_schedule("a", timezone="Asia/Tokyo", last_due=utc(2026, 1, 5, 2))
    make_schedule("b", cron="", every=timedelta(seconds=90), last_job=job.pk)
    make_schedule("c", cron="", at=FAR, source="code", last_job=new_id())
    make_schedule("d", cron="99 * * * *", source="settings")
    response = admin_client.get(changelist("schedule"))
    assert cells(response, "name") == ["a", "b", "c", "d"]
    once = local(FAR).strftime("%Y-%m-%d %H:%M:%S")
    assert cells(response, "when")[:3] == [
        "0 3 * * * Asia/Tokyo",
        "every 90 s",
        f"once, at {once}",
    ]
    assert "99 * * * *" in cells(response, "when")[3]
    assert cells(response, "next_run") == [local(FAR).strftime("%Y-%m-%d %H:%M")] * 4
    assert cells(response, "last_run") == ["2026-01-05 03:00", "-", "-", "-"]
    assert cells(response, "last_job_link") == ["-", "Failed", "deleted", "-"]
    assert cells(response, "source") == ["admin", "admin", "code", "settings"]
    assert f"/job/{job.pk}/change/" in response.content.decode()


def of_every_state():
    now = timezone.now()
    make_schedule("active")
    make_schedule("over", next_due=None)
    make_schedule("paused", paused_at=now, next_due=None, problem="and a problem")
    make_schedule("problem", problem="It has a problem.")


def test_states(admin_client):
    of_every_state()
    response = admin_client.get(changelist("schedule"))
    states = [state.split()[0] for state in cells(response, "state_badge")]
    assert states == ["Active", "Over", "Paused", "Problem"]
    for state in ("active", "over", "paused", "problem"):
        response = admin_client.get(changelist("schedule"), {"state": state})
        assert [schedule.pk for schedule in listed(response)] == [state]


def test_by_source_and_by_search(admin_client):
    make_schedule("one", source="code")
    make_schedule("two", task="shop.renamed")
    for query, name in (
        ({"source__exact": "code"}, "one"),
        ({"q": "WO"}, "two"),
        ({"q": "shop.re"}, "two"),
    ):
        response = admin_client.get(changelist("schedule"), query)
        assert [schedule.pk for schedule in listed(response)] == [name]


def test_the_list_asks_few_questions(admin_client, django_assert_num_queries):
    for number in range(30):
        make_schedule(f"number {number}", last_job=job_that_is("READY").pk)
        for _ in range(3):
            job_that_is("SUCCESSFUL", schedule=f"number {number}")
    # The session, its user, two counts, the rows, ids of their last jobs and those.
    with django_assert_num_queries(7):
        response = admin_client.get(changelist("schedule"))
    assert set(cells(response, "last_job_link")) == {"Ready"}
    assert response.content.count(b"bgtasks-bar-successful") == 90


# -- the last jobs


def bars(response):
    """Status, height and text of each, from left to right."""
    found = re.findall(
        r'bgtasks-bar-(\w+)" x="(\d+)" y="\d+" width="4" height="(\d+)">'
        r"<title>([^<]*)</title>",
        response.content.decode(),
    )
    assert [int(x) for _, x, _, _ in found] == [5 * n for n in range(len(found))]
    return [(status, int(height), text) for status, _, height, text in found]


@pytest.fixture
def with_past():
    schedule = make_schedule("nightly")
    began = utc(2026, 1, 5, 2)
    for seconds, status in ((5, "SUCCESSFUL"), (10, "FAILED")):
        job_that_is(
            status,
            schedule="nightly",
            started_at=began,
            finished_at=began + timedelta(seconds=seconds),
        )
    job_that_is("CANCELLED", schedule="nightly")
    job_that_is("READY", schedule="nightly")
    job_that_is("FAILED", schedule="other")
    return schedule


def test_the_last_jobs_are_drawn_and_told(admin_client, with_past):
    make_schedule("never")
    drawn = [
        ("successful", 11, "Successful, 5.0 s"),
        ("failed", 20, "Failed, 10.0 s"),
        ("cancelled", 3, "Cancelled"),
        ("ready", 3, "Ready"),
    ]
    told = (
        "Last 4 jobs. Ready: 1, Successful: 1, Failed: 1, Cancelled: 1. "
        "The longest ran for 10.0 s."
    )
    response = admin_client.get(changelist("schedule"))
    assert bars(response) == drawn
    assert f'role="img" aria-label="{told}"' in response.content.decode()
    assert cells(response, "last_jobs_drawn")[0] == "-"
    response = admin_client.get(page(with_past))
    assert bars(response) == drawn
    assert told in text_of(response)
    # Newest first in the table.
    _, _, table = text_of(response).partition("As a table")
    order = [table.index(word) for word in ("Ready", "Cancelled", "10.0 s", "5.0 s")]
    assert order == sorted(order)


def test_no_more_than_the_last_are_drawn(admin_client, with_past):
    for _ in range(40):
        job_that_is("SUCCESSFUL", schedule="nightly")
    for url in (changelist("schedule"), page(with_past)):
        response = admin_client.get(url)
        assert {status for status, _, _ in bars(response)} == {"successful"}
        assert len(bars(response)) == 30


def test_without_jobs_its_page_says_so(admin_client):
    response = admin_client.get(page(make_schedule("never")))
    assert "None yet, or all of them were pruned." in text_of(response)


def test_links_to_jobs_are_for_those_who_may_view_them(admin_client, member, with_past):
    job = Job.objects.filter(schedule="nightly").latest("pk")
    Schedule.objects.update(last_job=job.pk)
    blind, seeing = member("view_schedule"), member("view_schedule", "view_job")
    for url in (changelist("schedule"), page(with_past)):
        link = reverse("admin:django_bgtasks_job_change", args=[job.pk])
        assert link in seeing.get(url).content.decode()
        html = blind.get(url).content.decode()
        assert "/django_bgtasks/job/" not in html
        assert "bgtasks-bar-ready" in html


def test_the_page_of_one_asks_few_questions(admin_client, django_assert_num_queries):
    schedule = make_schedule("nightly")
    for _ in range(20):
        job_that_is("SUCCESSFUL", schedule="nightly")
    # Session, user, the row; ids of its last jobs and those.
    with django_assert_num_queries(5):
        admin_client.get(page(schedule))


# -- run, pause, resume, delete


def test_pause_and_resume(admin_client):
    for source in Schedule.Source.values:
        make_schedule(source, source=source)
    paused = make_schedule("paused", paused_at=timezone.now(), next_due=None)
    rows = list(Schedule.objects.all())
    response = act(admin_client, "pause_selected", rows, model="schedule")
    assert said(response) == [
        "3 schedules were paused.",
        "1 schedule had been paused before.",
    ]
    assert not Schedule.objects.filter(paused_at=None).exists()
    assert log_entries() == {
        (name, "Change", "Paused.") for name in Schedule.Source.values
    }

    Schedule.objects.filter(pk="code").resume()
    response = act(admin_client, "resume_selected", rows, model="schedule")
    assert said(response) == [
        "3 schedules were resumed.",
        "1 schedule was not paused.",
    ]
    assert not Schedule.objects.exclude(paused_at=None).exists()
    assert ("paused", "Change", "Resumed.") in log_entries()
    assert ("code", "Change", "Resumed.") not in log_entries()
    assert paused.name in {entry[0] for entry in log_entries()}


def test_run_now(admin_client):
    good = make_schedule("good", source="code", args=[7])
    bad = make_schedule("bad", task="gone.away")
    with capture_jobs() as jobs:
        response = act(admin_client, "run_selected", [good, bad], model="schedule")
    jobs.assert_enqueued(sample.add.s(7), times=1)
    refusal, success = said(response)
    assert refusal.startswith("bad cannot be run: task is 'gone.away'")
    assert success == "1 job was enqueued."
    job = Job.objects.get()
    assert (job.schedule, job.args, job.scheduled_for) == ("good", [7], None)
    assert log_entries() == {("good", "Change", "Run now.")}


def test_what_is_declared_cannot_be_deleted(admin_client):
    """It would come back."""
    own, other = make_schedule("own"), make_schedule("other", source="settings")
    response = delete(admin_client, [own, other], model="schedule")
    assert said(response) == [
        "1 schedule is declared in settings or code and cannot be deleted here. "
        "Pause it instead.",
        "Successfully deleted 1 schedule.",
    ]
    data = {"post": "yes"}
    assert admin_client.post(page(other, "delete"), data).status_code == 403
    assert list(Schedule.objects.all()) == [other]


@pytest.mark.parametrize("source", ["admin", "code"])
def test_the_buttons_of_a_page(admin_client, source):
    schedule = make_schedule("half past/ten?", source=source)
    html = admin_client.get(page(schedule)).content.decode()
    for action in ("run", "pause"):
        assert f'action="{page(schedule, action)}"' in html
        assert admin_client.get(page(schedule, action)).status_code == 405
    response = admin_client.post(page(schedule, "run"))
    assert response.url == page(schedule)
    assert Job.objects.get().schedule == schedule.pk
    admin_client.post(page(schedule, "pause"))
    html = admin_client.get(page(schedule)).content.decode()
    assert "none of them gets a job before it is resumed" in html
    assert f'action="{page(schedule, "pause")}"' not in html
    assert f'action="{page(schedule, "resume")}"' in html
    admin_client.post(page(schedule, "resume"))
    assert Schedule.objects.get().paused_at is None
    messages = {entry[2] for entry in log_entries()}
    assert messages == {"Run now.", "Paused.", "Resumed."}


def test_a_button_of_a_page_that_is_gone(admin_client):
    assert admin_client.post(page(Schedule(name="gone"), "run")).status_code == 404


@pytest.mark.parametrize("source", ["admin", "settings"])
@pytest.mark.parametrize(
    ("permission", "allowed"),
    [
        ("view_schedule", set()),
        ("add_schedule", set()),
        ("change_schedule", {"run", "pause", "resume"}),
        ("delete_schedule", {"delete"}),
    ],
)
def test_each_action_needs_its_permission(member, source, permission, allowed):
    schedule = make_schedule(source=source)
    client = member("view_schedule", *({permission} - {"view_schedule"}))
    html = client.get(changelist("schedule")).content.decode()
    every = {"run", "pause", "resume", "delete"}
    assert {a for a in every if f'value="{a}_selected"' in html} == allowed
    html = client.get(page(schedule)).content.decode()
    buttons = {a for a in every if f'action="{page(schedule, a)}' in html}
    assert buttons == allowed - {"resume", "delete"}
    for action in every - allowed:
        act(client, f"{action}_selected", [schedule], model="schedule")
        assert client.post(page(schedule, action)).status_code == 403
    assert not Job.objects.exists()
    assert Schedule.objects.get().paused_at is None


def test_staff_without_permissions_see_nothing(member):
    client = member()
    schedule = make_schedule()
    for path in (
        changelist("schedule"),
        changelist("schedule") + "add/",
        changelist("schedule") + "preview/",
        page(schedule),
    ):
        assert client.get(path).status_code == 403


# -- the form


def test_one_is_added(admin_client):
    response = add(
        admin_client,
        name="new one",
        args="[1, 2]",
        cron="0  3 * * *",
        timezone="Asia/Tokyo",
        queue_name="mail",
        priority="7",
        jitter="90",
        missed="skip",
        overlap="skip",
    )
    assert response.status_code == 302
    row = Schedule.objects.get()
    assert (row.name, row.source, row.task) == ("new one", "admin", ADD)
    assert (row.args, row.kwargs) == ([1, 2], {})
    assert row.as_periodic().rule == Rule(cron="0 3 * * *", timezone="Asia/Tokyo")
    assert (row.queue_name, row.priority, row.jitter.seconds) == ("mail", 7, 90)
    assert (row.missed, row.overlap) == ("skip", "skip")
    # It is planned already, and from now on.
    assert row.next_due > timezone.now()
    assert row.planned_by != ""


def test_what_is_left_empty_has_defaults(admin_client):
    add(admin_client, args="", kwargs="", task="shop.renamed")
    row = Schedule.objects.get()
    assert (row.args, row.kwargs, row.phase, row.jitter) == (
        [],
        {},
        timedelta(0),
        timedelta(0),
    )


def test_durations_are_text(admin_client):
    add(admin_client, cron="", every="1 00:30:00", phase="90")
    row = Schedule.objects.get()
    assert row.every == timedelta(days=1, minutes=30)
    assert row.phase == timedelta(seconds=90)


def test_times_are_those_of_the_reader(admin_client, settings):
    with timezone.override("America/New_York"):
        add(admin_client, cron="", at_0="2090-07-01", at_1="12:00:00")
        html = admin_client.get(page(Schedule.objects.get())).content.decode()
    noon, zone = utc(2090, 7, 1, 16), "America/New_York"
    if not settings.USE_TZ:
        noon, zone = datetime(2090, 7, 1, 12), "Europe/Berlin"
    assert Schedule.objects.get().at == noon
    assert f"By the clocks of {zone}" in html
    hour = 18 if settings.USE_TZ else 12
    assert f"2090-07-01 {hour}:00:00 UTC+02:00, by the clocks of Europe/Berlin" in html


@pytest.mark.parametrize(
    ("fields", "field_name", "message"),
    [
        ({"cron": "99 * * * *"}, "cron", "no cron expression"),
        ({"cron": ""}, "cron", "give one of cron, every and at"),
        ({"every": "90"}, "every", "is given besides cron"),
        ({"cron": "", "every": "0"}, "every", "from 1 second"),
        ({"phase": "90"}, "phase", "belongs to every"),
        ({"timezone": "Europe/Berln"}, "timezone", "Europe/Berlin"),
        ({"name": ""}, "name", "required"),
        ({"name": ".."}, "name", "not only dots and spaces"),
        ({"task": "gone.away"}, "task", "not one of the available choices"),
        # It would do to jobs what its user may not do.
        (
            {"task": "django_bgtasks.sweep"},
            "task",
            "not one of the available choices",
        ),
        ({"args": "[1, 2, 3]"}, "args", "cannot be used"),
        ({"args": "{}"}, "args", "must be a list"),
        ({"args": "[1,"}, "args", "valid JSON"),
        ({"kwargs": "[]"}, "kwargs", ""),
        ({"kwargs": '{"c": 3}'}, "kwargs", "cannot be used"),
        ({"priority": "101"}, "priority", "from -100 to 100"),
        ({"jitter": "-90"}, "jitter", "must be from 0"),
        (
            {"cron": "", "at_0": "2020-01-01", "at_1": "12:00"},
            "at",
            "in the past",
        ),
        (
            {
                "start_0": "2090-01-02",
                "start_1": "12:00",
                "end_0": "2090-01-01",
                "end_1": "12:00",
            },
            "end",
            "before start",
        ),
        ({"start_0": "0001-01-01", "start_1": "00:00"}, "start", ""),
        ({"cron": "", "at_0": "9999-12-31", "at_1": "23:59"}, "at", ""),
    ],
)
def test_what_cannot_be_understood_is_refused(
    admin_client, fields, field_name, message
):
    found = form_errors(add(admin_client, **fields))
    assert list(found) == [field_name]
    assert message in " ".join(found[field_name])
    assert not Schedule.objects.exists()


def test_names_are_given_once(admin_client, settings):
    make_schedule("nightly")
    assert "already exists" in str(form_errors(add(admin_client)))
    settings.BGTASKS = {"PERIODIC": {"cleanup": {"task": ADD, "cron": "@daily"}}}
    found = form_errors(add(admin_client, name="cleanup"))
    assert "['cleanup'] declares a schedule" in found["name"][0]


def test_one_is_changed(admin_client):
    schedule = make_schedule(problem="It was wrong.", last_due=utc(2026, 1, 5, 2))
    data = filled_in(name="other", cron="", every="60", args="[5]")
    assert admin_client.post(page(schedule), data).status_code == 302
    row = Schedule.objects.get()
    assert (row.name, row.cron, row.every) == ("nightly", "", timedelta(minutes=1))
    assert (row.args, row.problem) == ([5], "")
    # None of the runs that it would have had since is made up for.
    assert timezone.now() < row.next_due <= timezone.now() + timedelta(minutes=1)
    assert row.last_due == utc(2026, 1, 5, 2)


def test_a_change_of_what_is_paused_leaves_it_so(admin_client):
    schedule = make_schedule(problem="It was wrong.")
    Schedule.objects.filter(pk=schedule.pk).pause()
    admin_client.post(page(schedule), filled_in(cron="0 4 * * *"))
    row = Schedule.objects.get()
    assert (row.cron, row.next_due, row.problem) == ("0 4 * * *", None, "")
    assert row.paused_at is not None


def test_what_happened_meanwhile_stays(admin_client, monkeypatch):
    """Somebody pauses it, and a tick gets a job, while the form is being checked."""
    schedule = make_schedule()
    job = new_id()
    save = schedules.save

    def late(row):
        Schedule.objects.update(paused_at=FAR, next_due=None, last_job=job)
        save(row)

    monkeypatch.setattr(schedules, "save", late)
    admin_client.post(page(schedule), filled_in(cron="0 4 * * *"))
    row = Schedule.objects.get()
    assert (row.cron, row.paused_at, row.next_due) == ("0 4 * * *", FAR, None)
    assert row.last_job == job


def test_what_ran_once_may_be_changed_otherwise(admin_client):
    schedule = make_schedule(cron="", at=utc(2020, 1, 1, 11), next_due=None)
    at = {"at_0": "2020-01-01", "at_1": "12:00:00"}
    response = admin_client.post(page(schedule), filled_in(cron="", args="[9]", **at))
    assert response.status_code == 302
    row = Schedule.objects.get()
    assert (row.args, row.next_due) == ([9], None)


def test_a_task_that_nobody_knows_is_shown(admin_client):
    schedule = make_schedule(task="gone.away")
    html = admin_client.get(page(schedule)).content.decode()
    assert '<option value="gone.away" selected>' in html
    assert f'<option value="{ADD}">' in html
    found = form_errors(admin_client.post(page(schedule), filled_in(task="gone.away")))
    assert "no such task is registered here" in str(found["task"])


def test_who_may_only_look_gets_no_form(member):
    schedule = make_schedule(
        task=SENSITIVE, args=["bob"], kwargs={"password": "tr0ub4"}
    )
    response = member("view_schedule", "view_job_arguments").get(page(schedule))
    html = response.content.decode()
    assert 'name="cron"' not in html
    assert "tr0ub4" not in html
    assert '"password": "********************"' in field(response, "keyword_arguments")
    response = member("view_schedule").get(page(schedule))
    assert 'name="cron"' not in response.text
    assert "bob" not in response.text
    assert "Can view arguments and results of job" in field(response, "hidden_call")
    html = member("change_schedule").get(page(schedule)).content.decode()
    assert "tr0ub4" in html
    client = member("add_schedule", "view_schedule")
    assert client.post(page(schedule), filled_in()).status_code == 403


# -- a page to read


@pytest.mark.parametrize("source", ["settings", "code"])
def test_what_is_declared_is_read(admin_client, source):
    schedule = make_schedule(source=source, kwargs={"b": 2}, queue_name="mail")
    response = admin_client.get(page(schedule))
    text = text_of(response)
    assert f"This schedule is declared in {source}" in text
    assert field(response, "when") == "0 3 * * * Europe/Berlin"
    assert field(response, "queue_of_jobs") == "mail"
    assert field(response, "keyword_arguments") == '{ "b": 2 }'
    assert 'name="_save"' not in response.content.decode()
    assert text.count("03:00:00 UTC+0") == 1 + 10
    assert (
        admin_client.post(page(schedule), filled_in(cron="1 1 * * *")).status_code
        == 403
    )
    assert Schedule.objects.get().cron == "0 3 * * *"


def test_what_is_wrong_stands_on_top(admin_client):
    schedule = make_schedule(cron="99 * * * *", problem=f"cron is wrong {MARKUP}")
    for source in ("admin", "code"):
        Schedule.objects.update(source=source)
        response = admin_client.get(page(schedule))
        html = response.content.decode()
        assert "<script>alert" not in html
        assert "cron is wrong &lt;script&gt;alert(&quot;it&#x27;s on" in html
        # The next runs cannot be shown, and say so.
        assert "no cron expression" in html


def test_a_problem_tells_no_secrets(admin_client):
    problem = "The database does not take it: DETAIL: (tr0ub4dor)"
    schedule = make_schedule(
        task=SENSITIVE, kwargs={"password": "tr0ub4dor"}, problem=problem, source="code"
    )
    html = admin_client.get(page(schedule)).content.decode()
    assert "The database does not take it" in html
    assert "tr0ub4dor" not in html


def test_a_name_is_text(admin_client):
    schedule = make_schedule(MARKUP, source="code", queue_name="<b>")
    for path in (changelist("schedule"), page(schedule)):
        html = admin_client.get(path).content.decode()
        assert "<script>alert" not in html
        assert "&lt;script&gt;alert" in html
    response = admin_client.post(page(schedule, "run"))
    assert response.url == page(schedule)
    html = admin_client.get(
        reverse("admin:django_bgtasks_job_change", args=[Job.objects.get().pk])
    ).content.decode()
    assert "<script>alert" not in html
    assert page(schedule) in unescape(html)


# -- its jobs


def test_the_jobs_of_a_schedule(admin_client):
    schedule = make_schedule("night & day")
    mine = job_that_is("READY", schedule=schedule.pk)
    job_that_is("READY", schedule="other")
    job_that_is("READY")
    path = f"{changelist()}?{urlencode({'schedule': schedule.pk})}"
    assert f'href="{path}"' in admin_client.get(page(schedule)).content.decode()
    response = admin_client.get(path)
    assert listed(response) == [mine]
    assert "night & day" in text_of(response)
    assert "By schedule" not in text_of(admin_client.get(changelist()))


def test_a_job_says_where_it_comes_from(admin_client):
    schedule = make_schedule()
    of_tick = job_that_is("READY", schedule="nightly", scheduled_for=utc(2026, 1, 5, 2))
    by_hand = job_that_is("READY", schedule="gone")
    neither = job_that_is("READY")
    url = "admin:django_bgtasks_job_change"
    response = admin_client.get(reverse(url, args=[of_tick.pk]))
    assert field(response, "schedule_link") == "nightly"
    assert f'href="{page(schedule)}"' in response.content.decode()
    assert field(response, "tick") == "2026-01-05 03:00:00"
    response = admin_client.get(reverse(url, args=[by_hand.pk]))
    assert field(response, "schedule_link") == "gone"
    assert "/schedule/gone/" not in response.content.decode()
    assert "somebody ran it" in field(response, "tick")
    html = admin_client.get(reverse(url, args=[neither.pk])).content.decode()
    assert "field-tick" not in html


# -- the next runs


def aware(*parts):
    return datetime(*parts, tzinfo=UTC)


def test_next_runs_say_when_clocks_change():
    rule = Rule(cron="30 2 * * *", timezone="Europe/Berlin")
    shown = upcoming(rule, aware(2026, 3, 27, 12))
    assert shown["summary"] == (
        "Next run: Sat 2026-03-28 02:30:00 UTC+01:00, by the clocks of Europe/Berlin."
    )
    runs = [(run["time"], run["notes"]) for run in shown["runs"]]
    assert len(runs) == 10
    assert runs[:3] == [
        ("Sat 2026-03-28 02:30:00 UTC+01:00", []),
        (
            "Sun 2026-03-29 03:00:00 UTC+02:00",
            [
                "clocks go forward 1 h before this run",
                "moved, for on this day there is no such time",
            ],
        ),
        ("Mon 2026-03-30 02:30:00 UTC+02:00", []),
    ]
    runs = upcoming(rule, aware(2026, 10, 24, 12))["runs"]
    assert [run["notes"] for run in runs[:3]] == [
        [],
        ["clocks go back 1 h before this run"],
        [],
    ]


def test_next_runs_may_be_few():
    once = Rule(at=aware(2026, 1, 5, 2), timezone="Asia/Tokyo")
    times = [run["time"] for run in upcoming(once, aware(2026, 1, 1))["runs"]]
    assert times == ["Mon 2026-01-05 11:00:00 UTC+09:00"]
    over = upcoming(once, aware(2026, 1, 6))
    assert over == {"summary": "There will be no more runs.", "runs": []}


def test_the_calendar_ends():
    rule = Rule(cron="0 0 1 3 0", timezone="UTC", start=aware(9998, 12, 31))
    runs = upcoming(rule)["runs"]
    assert runs[0]["datetime"] == "9999-03-01T00:00:00+00:00"
    assert len(runs) < 10


def ask(client, **fields):
    response = client.get(changelist("schedule") + "preview/", fields)
    assert response.status_code == 200
    return json.loads(response.content)


def test_preview(admin_client):
    answer = ask(
        admin_client,
        cron="30 2 * * *",
        timezone="Europe/Berlin",
        start_0="2089-03-26",
        start_1="12:00",
    )
    # On the first of these days, clocks go forward from 2:00 to 3:00.
    assert [run["datetime"] for run in answer["runs"]][:2] == [
        "2089-03-27T03:00:00+02:00",
        "2089-03-28T02:30:00+02:00",
    ]
    assert answer["runs"][0]["notes"] == [
        "moved, for on this day there is no such time"
    ]
    answer = ask(admin_client, every="60", phase="00:00:05")
    assert len(answer["runs"]) == 10


@pytest.mark.parametrize(
    ("fields", "field_name"),
    [
        ({}, "cron"),
        ({"cron": "* *"}, "cron"),
        ({"every": "soon"}, "every"),
        ({"every": "60", "phase": "60"}, "phase"),
        ({"at_0": "2090-01-01"}, "at"),
        ({"at_0": "2020-01-01", "at_1": "12:00"}, "at"),
        ({"cron": "@daily", "timezone": "Nowhere"}, "timezone"),
        ({"cron": "x" * 300}, "cron"),
        ({"cron": "@daily", "start_0": "0001-01-01", "start_1": "00:00"}, "start"),
    ],
)
def test_preview_says_what_is_wrong(admin_client, fields, field_name):
    answer = ask(admin_client, **fields)
    assert answer["error"]["field"] == field_name
    assert answer["error"]["message"]
    assert "runs" not in answer


def test_preview_is_for_those_who_type(member):
    path = changelist("schedule") + "preview/"
    assert member("view_schedule").get(path).status_code == 403
    assert member("add_schedule").get(path).status_code == 200
    client = member("change_schedule")
    assert client.get(path).status_code == 200
    assert client.post(path).status_code == 405


@pytest.mark.parametrize(
    "lookup",
    ["args__0__startswith=s", "kwargs__password=secret", "problem__contains=s"],
)
def test_no_address_finds_a_schedule_by_what_is_hidden(member, lookup):
    Schedule.objects.create(
        name="s",
        task="tests.sample.tasks.pay",
        every=timedelta(hours=1),
        args=["secret"],
        kwargs={"password": "secret"},
        problem="no secret",
    )
    client = member("view_schedule", "view_job_arguments")
    assert client.get(f"{changelist('schedule')}?{lookup}").status_code == 400


def test_an_empty_list_says_so(admin_client):
    assert "There are no schedules." in text_of(
        admin_client.get(changelist("schedule"))
    )
    schedules.save(Schedule(name="mine", task="shop.renamed", cron="@daily"))
    for query in ("", "?q=there-is-none"):
        page_of = admin_client.get(changelist("schedule") + query)
        assert "There are no schedules." not in text_of(page_of)
