"""The dashboard's page, its JSON, and its one button."""

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from django_bgtasks.admin import dashboard_page
from django_bgtasks.models import Job, Queue, Schedule, Tally
from django_bgtasks.redaction import MASK
from django_bgtasks.store import failures
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.overview import overview
from django_bgtasks.testing import run_jobs
from tests.admin.pages import (
    MARKUP,
    changelist,
    failed_attempt,
    job_that_is,
    local,
    log_entries,
    page,
    said,
    text_of,
)
from tests.factories import living_worker, make_jobs, make_running
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
PAGE = "/admin/django_bgtasks/dashboard/"
DATA = PAGE + "data/"
RETRY = PAGE + "retry/"


@pytest.fixture
def look(admin_client):
    """What a superuser reads on the page."""
    return lambda **query: text_of(admin_client.get(PAGE, query))


@pytest.fixture
def data(admin_client):
    return lambda **query: admin_client.get(DATA, query).json()


def tally(ago=2, queue="mail", **columns):
    minute = timezone.now().replace(second=0, microsecond=0) - ago * MINUTE
    columns = {"successful": 1, "waits": {"18": 1}, "runs": {"21": 1}, **columns}
    return Tally.objects.create(queue=queue, minute=minute, **columns)


def failed(exception="builtins.ValueError", error="ValueError: no", **columns):
    job = job_that_is("FAILED", **columns)
    failed_attempt(job, exception_class_path=exception, error=error)
    return job


def section(client, name):
    """What a part of the page says that is fetched anew."""
    html = client.get(PAGE).content.decode()
    begin = html.index(f'id="bgtasks-{name}"')
    return html[begin : html.index("</section>", begin)]


def test_where_it_is():
    assert changelist("dashboard") == PAGE
    assert reverse("admin:django_bgtasks_dashboard_data") == DATA


def test_the_index_leads_to_it(admin_client, member):
    other = member("view_worker")
    for index in ("/admin/", "/admin/django_bgtasks/"):
        assert f'href="{PAGE}"' in admin_client.get(index).content.decode()
        assert PAGE not in other.get(index).content.decode()


def test_rows_of_it_have_no_pages(admin_client):
    job = job_that_is("READY")
    for path in (f"{job.pk}/change/", "add/", f"{job.pk}/delete/"):
        assert admin_client.get(PAGE + path).status_code == 404


# -- what it says


def test_how_it_begins(look):
    text = look()
    assert "Nothing has run here yet" in text
    assert "python manage.py run_tasks" in text
    assert "No worker is running" in text
    living_worker()
    text = look()
    assert "All is well" in text
    assert "Nothing has run here yet" not in text


def test_what_is_wrong_comes_first(look):
    make_jobs(1, queue="mail")
    Schedule.objects.create(name="s", task="t", every=HOUR, problem="It is gone.")
    text = look()
    assert "2 things are wrong" in text
    assert "Jobs wait on queue mail, and no live worker works on it." in text
    assert "Schedule s has a problem: It is gone." in text


def test_queues(admin_client):
    make_jobs(3, queue="mail", enqueued_at=timezone.now() - 2 * HOUR)
    make_running(queue="mail")
    tally(successful=58, failed=2, cancelled=0)
    tally(queue="old")
    now = timezone.now()
    Queue.objects.create(name="mail", paused_at=now, resume_at=now + 48 * HOUR)
    html = section(admin_client, "queues")
    assert f'href="{changelist()}?queue=mail"' in html
    assert "Paused" in html
    assert "until" in html
    assert "2 h" in html
    assert "3.3 %" in html
    # A job of each of 60 minutes; waits of about a fifth of a second, runs of one and
    # a half.
    assert ">1.0<" in html
    assert "197 ms" in html
    assert "1.6 s" in html
    assert html.count("<polyline") == 2
    assert "?queue=old" in html


def at(monkeypatch, **time):
    now = timezone.now().replace(microsecond=0).replace(**time)
    monkeypatch.setattr(type(get_engine()), "now", lambda engine: now)
    return now


def test_the_running_minute_is_drawn(admin_client, data, look, monkeypatch):
    """All that there is to see of a site that has just begun."""
    now = at(monkeypatch, second=15)
    begin = now.replace(second=0)
    Tally.objects.create(queue="mail", minute=begin, successful=7)
    found = data()
    assert len(found["series"]) == 60
    assert (found["series"][-1]["minutes"], found["series"][-1]["successful"]) == (
        0.25,
        7,
    )
    assert found["total"]["successful"] == 7
    chart = admin_client.get(PAGE).context["chart"]
    assert chart["successful"] == [0] * 59 + [7]
    text = f"{local(begin):%H:%M}, so far"
    assert chart["running"] == {"begin": chart["begin"][-1], "time": text}
    assert f"{text} 7" in look()
    # A line of what is over does not end in a fall.
    assert "<polyline" not in section(admin_client, "queues")


def test_at_the_full_minute_none_is_running(admin_client, data, look, monkeypatch):
    now = at(monkeypatch, second=0)
    Tally.objects.create(queue="mail", minute=now - MINUTE, successful=7)
    assert len(data()["series"]) == 60
    chart = admin_client.get(PAGE).context["chart"]
    assert chart["successful"] == [0] * 59 + [7]
    assert chart["running"] is None
    assert "so far" not in look()


def test_workers(admin_client):
    now = timezone.now()
    worker = living_worker(
        hostname="a", pid=1, version="2.0", memory=50 * 2**20, started_at=now - HOUR
    )
    living_worker(hostname="b", pid=2, version="1.9", instruction="drain")
    living_worker(hostname="c", pid=3, heartbeat_at=now - HOUR, queues=["mail", "slow"])
    job = make_running(
        worker.pk, task="shop.work", progress={"done": 3, "total": 4, "message": "x"}
    )
    for _ in range(5):
        make_running(worker.pk)
    html = section(admin_client, "workers")
    text = " ".join(html.split())
    assert f'href="/admin/django_bgtasks/worker/{worker.pk}/change/"' in html
    assert f'href="/admin/django_bgtasks/job/{job.pk}/change/"' in html
    assert "shop.work</a>" in html
    assert "3/4 · x" in text
    assert "and 2 more" in text
    assert "4 of 4" in text
    for words in ("Live", "Draining", "Lost", "mail, slow", "2.0", "1 h"):
        assert words in text
    assert "50.0 MB" in text
    assert text.count("differs") == 2


def test_schedules(admin_client):
    now = timezone.now()
    columns = {"task": "t", "next_due": now + HOUR, "timezone": "UTC"}
    Schedule.objects.create(name="six", cron="0 */4 * * *", **columns)
    Schedule.objects.create(name="often", cron="* * * * *", **columns)
    late = {**columns, "next_due": now - HOUR}
    Schedule.objects.create(name="late", cron="0 0 1 1 *", **late)
    Schedule.objects.create(name="off", cron="* * * * *", paused_at=now, **columns)
    html = section(admin_client, "schedules")
    lanes = {
        name: html[html.index(f"schedule/{name}/change") :].partition("</tr>")[0]
        for name in ("six", "often", "late", "off")
    }
    assert lanes["six"].count("<circle") == 6
    assert (lanes["often"].count("<rect"), lanes["often"].count("<circle")) == (1, 0)
    assert "time and again from" in lanes["often"]
    assert "Late" in lanes["late"]
    assert 'cx="0.00%"' in lanes["late"]
    assert "Paused" in lanes["off"]
    assert "style=" not in html


def test_drawings_are_numbers_in_any_language(admin_client, settings):
    settings.LANGUAGE_CODE = "de"
    Schedule.objects.create(name="s", task="t", cron="0 */4 * * *")
    tally(ago=3, successful=7)
    tally(ago=5, successful=12345)
    assert 'cx="' in section(admin_client, "schedules")
    for name in ("schedules", "queues"):
        html = section(admin_client, name)
        for attribute in ("cx", "x", "x1", "width", "max"):
            values = html.split(f' {attribute}="')[1:]
            assert not [v for v in values if "," in v.partition('"')[0]]
    points = section(admin_client, "queues").split('points="')[1].partition('"')[0]
    assert all(len(point.split(",")) == 2 for point in points.split())


def test_charts_have_their_numbers_in_the_page(admin_client):
    tally(ago=2, successful=5, failed=1)
    tally(ago=2, queue="slow", successful=2)
    tally(ago=2, queue="", successful=0, waiting=7, waits={}, runs={})
    html = admin_client.get(PAGE).content.decode()
    _, _, rest = html.partition('id="bgtasks-chart-data" type="application/json">')
    chart = json.loads(rest.partition("</script>")[0])
    assert len(chart["begin"]) == 60
    assert chart["successful"][-3:] == [7, 0, 0]
    assert chart["waiting"][-3] == 7
    assert "Successful: 7, failed: 1" in chart["labels"]["throughput"]
    only = admin_client.get(PAGE, {"queue": "slow"}).content.decode()
    assert "Queue slow over time" in only
    assert "Successful: 2, failed: 0" in only


def test_failures_are_folded(admin_client):
    for _ in range(3):
        failed()
    failed("builtins.KeyError", "KeyError: 'x'")
    html = section(admin_client, "failures")
    assert html.count("<h3>") == 2
    link = f"{changelist()}?status=FAILED&amp;task={sample.add.path}"
    assert f'{link}&amp;exception=builtins.ValueError"' in html
    assert "KeyError: &#x27;x&#x27;" in html


def test_a_thousand_failures_are_many(admin_client, monkeypatch):
    monkeypatch.setattr(failures, "LIMIT", 2)
    for _ in range(3):
        failed()
    assert "2+" in section(admin_client, "failures")


@pytest.mark.parametrize("window", ["1h", "24h", "7d", "nonsense"])
def test_windows(admin_client, window):
    tally(ago=30)
    response = admin_client.get(PAGE, {"window": window})
    chosen = {"1h": "1 hour", "24h": "24 hours", "7d": "7 days"}.get(window, "1 hour")
    assert f'aria-current="page">{chosen}<' in response.content.decode()
    assert "no-store" in response["Cache-Control"]


# -- what nobody may see


def test_all_is_text(look, admin_client):
    failed(MARKUP, MARKUP, task=MARKUP, queue=MARKUP)
    worker = living_worker(hostname=MARKUP, version="<b>", queues=[MARKUP])
    make_running(
        worker.pk, task=MARKUP, progress={"done": 1, "total": 2, "message": MARKUP}
    )
    Schedule.objects.create(name=MARKUP, task="t", every=HOUR, problem=MARKUP)
    tally(queue=MARKUP)
    response = admin_client.get(PAGE, {"queue": MARKUP})
    assert MARKUP not in response.content.decode()
    assert "<script>alert" not in response.content.decode()


def test_secrets_are_masked(look, data):
    failed(task=sample.pay.path, args=["ada", "hunter22"], error="E: hunter22")
    worker = living_worker()
    progress = {"done": 1, "total": 2, "message": "hunter22!"}
    make_running(
        worker.pk, task=sample.pay.path, args=["ada", "hunter22"], progress=progress
    )
    assert "hunter22" not in look()
    assert f"{MASK}!" in look()
    assert data()["failures"][0]["error"] == f"E: {MASK}"


@pytest.mark.parametrize(
    "call",
    [
        {"args": ["ada", "secret"], "kwargs": {"how": "message"}},
        # As SQL may have written it: nobody knows which argument is which.
        {"args": {"password": "secret"}, "kwargs": []},
    ],
)
def test_problems_of_schedules_do_not_tell_what_is_sensitive(admin_client, call):
    Schedule.objects.create(
        name="s", task="tests.sample.tasks.pay", every=HOUR, source="code"
    )
    Schedule.objects.update(problem="no secret", **call)
    for url in (PAGE, DATA, page(Schedule.objects.get())):
        text = admin_client.get(url).content.decode()
        assert f"no {MASK}" in text
        assert "secret" not in text


def test_errors_and_messages_are_for_who_may_see_arguments(member):
    failed(error="ValueError: private")
    progress = {"done": 1, "total": 2, "message": "private"}
    make_running(living_worker().pk, progress=progress)
    some, all_of_it = member("view_job"), member("view_job", "view_job_arguments")
    assert "private" not in some.get(PAGE).content.decode()
    assert "ValueError" in some.get(PAGE).content.decode()
    assert some.get(DATA).json()["failures"][0]["error"] is None
    assert "private" in all_of_it.get(PAGE).content.decode()
    assert all_of_it.get(DATA).json()["failures"][0]["error"] == "ValueError: private"


def test_pages_that_one_may_not_see_are_not_linked(member):
    living_worker()
    Schedule.objects.create(name="s", task="t", every=HOUR)
    html = member("view_job").get(PAGE).content.decode()
    assert "/django_bgtasks/worker/" not in html
    assert "/django_bgtasks/schedule/" not in html


def test_who_may_not_view_jobs_sees_nothing(member, client):
    other = member("view_worker", "retry_job")
    assert other.get(PAGE).status_code == 403
    response = other.get(DATA)
    assert (response.status_code, response.json()) == (
        403,
        {"error": "You may not view jobs."},
    )
    assert client.get(PAGE).status_code == 302
    assert client.get(DATA).status_code == 302


# -- JSON


def test_json_says_what_the_page_says(data):
    make_jobs(2, queue="mail")
    worker = living_worker(queues=["mail"], memory=5, version="1")
    running = make_running(worker.pk, queue="mail")
    Schedule.objects.create(name="s", task="t", cron="* * * * *", timezone="UTC")
    failed(queue="mail")
    tally(failed=1)
    found = data(window="24h", queue="mail")
    assert (found["window"], found["queue"], found["problems"]) == ("24h", "mail", [])
    (queue,) = found["queues"]
    assert (queue["name"], queue["waiting"], queue["running"]) == ("mail", 2, 1)
    assert queue["failed_last_hour"] == 1
    assert queue["figures"]["failure_rate"] == 0.5
    assert queue["oldest_age"] >= 0
    (seen,) = found["workers"]
    assert (seen["id"], seen["memory"], seen["version"]) == (str(worker.pk), 5, "1")
    assert [job["id"] for job in seen["jobs"]] == [str(running.pk)]
    (schedule,) = found["schedules"]
    assert (schedule["name"], schedule["ticks"]) == ("s", schedule["ticks"])
    assert len(schedule["stretches"]) == 1
    (kind,) = found["failures"]
    assert (kind["count"], kind["exception"]) == (1, "builtins.ValueError")
    assert len(found["series"]) == 96
    assert sum(step["failed"] for step in found["series"]) == 1
    assert found["total"]["successful"] == 1
    assert found["last_hour"]["failed"] == 1
    assert found["now"].endswith("+00:00") or found["now"][-6] in "+-"


def test_json_says_which_numbers_have_an_end(data, monkeypatch):
    monkeypatch.setattr(overview, "__defaults__", (None, 1, None))
    for _ in range(2):
        failed(queue="mail")
    make_jobs(2, queue="mail")
    (queue,) = data()["queues"]
    assert queue["capped"] == ["failed_last_hour", "waiting"]
    assert (queue["failed_last_hour"], queue["waiting"]) == (1, 1)


def test_json_is_documented(data):
    """Each field by its name in the documentation."""
    make_jobs(1)
    make_running(living_worker().pk)
    tally()
    failed()
    Schedule.objects.create(name="s", task="t", every=HOUR)
    page = Path(__file__).parents[2] / "docs/how-to/dashboard.md"
    named = set(re.findall("`([a-z_0-9]+)`", page.read_text("utf-8")))
    assert names_in(data()) <= named


def names_in(value):
    """Of all fields, at any depth."""
    if isinstance(value, list):
        return {name for item in value for name in names_in(item)}
    if not isinstance(value, dict):
        return set()
    return set(value).union(*(names_in(item) for item in value.values()))


def test_json_is_never_kept(admin_client):
    assert "no-store" in admin_client.get(DATA)["Cache-Control"]
    assert admin_client.post(DATA).status_code == 405


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"window": "2h"}, "window is '2h'; it must be one of 1h, 24h, 7d"),
        ({"windw": "1h"}, "there is no parameter 'windw'; window and queue are"),
    ],
)
def test_json_says_what_is_wrong_with_a_request(admin_client, query, sentence):
    response = admin_client.get(DATA, query)
    assert (response.status_code, response.json()) == (400, {"error": sentence})


# -- retrying


def kind_of(job, exception="builtins.ValueError"):
    return f"{exception} {job.task}"


def test_all_failures_of_a_kind_are_retried(admin_client):
    jobs = [failed() for _ in range(3)]
    other = failed("builtins.KeyError")
    data = {"kind": kind_of(jobs[0]), "window": "7d"}
    response = admin_client.post(RETRY, data)
    assert (response.status_code, response.url) == (302, PAGE + "?window=7d")
    assert said(response) == ["3 jobs will be retried."]
    assert set(Job.objects.ready()) == set(jobs)
    assert Job.objects.get(pk=other.pk).status == Job.Status.FAILED
    assert log_entries() == {(str(job.pk), "Change", "Retried.") for job in jobs}


def test_the_button_posts_what_is_retried(admin_client):
    failed(task="a name with spaces")
    html = section(admin_client, "failures")
    value = html.partition('name="kind" value="')[2].partition('"')[0]
    admin_client.post(RETRY, {"kind": value})
    assert Job.objects.ready().count() == 1


def test_many_are_left_to_a_job(admin_client, monkeypatch):
    monkeypatch.setattr("django_bgtasks.admin.dashboard.ACTION_LIMIT", 2)
    jobs = [failed() for _ in range(3)]
    others = [
        failed("builtins.KeyError"),
        failed(finished_at=timezone.now() - timedelta(days=2)),
    ]
    response = admin_client.post(RETRY, {"kind": kind_of(jobs[0])})
    (sweep,) = Job.objects.for_task("django_bgtasks.sweep")
    assert response.url == page(sweep)
    result = run_jobs("default", raise_errors=False)[0]
    assert result.return_value == {"retried": 3}
    for other in others:
        assert Job.objects.get(pk=other.pk).finished_at == other.finished_at


def test_failures_that_are_gone(admin_client):
    response = admin_client.post(RETRY, {"kind": "builtins.ValueError gone"})
    assert said(response) == ["There are no such failures any more."]


def test_who_may_retry(member, admin_user):
    job = failed()
    data = {"kind": kind_of(job)}
    reader, retrier = member("view_job"), member("view_job", "retry_job")
    assert "Retry all like this" not in reader.get(PAGE).content.decode()
    for client in (reader, member("retry_job"), member("view_job", "change_job")):
        assert client.post(RETRY, data).status_code == 403
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin_user)
    assert strict.post(RETRY, data).status_code == 403
    assert retrier.get(RETRY).status_code == 405
    assert Job.objects.get().status == Job.Status.FAILED
    assert retrier.post(RETRY, data).status_code == 302
    assert Job.objects.get().status == Job.Status.READY


# -- speed


@pytest.mark.parametrize("count", [1, 30])
@pytest.mark.parametrize("path", [PAGE, DATA])
def test_more_of_everything_takes_no_more_queries(
    admin_client, django_assert_num_queries, count, path
):
    for n in range(count):
        make_running(living_worker(hostname=f"h{n}").pk, queue=f"q{n}")
        make_jobs(1, queue=f"q{n}")
        tally(queue=f"q{n}")
        failed(f"shop.Error{n}")
        Queue.objects.create(name=f"q{n}")
        Schedule.objects.create(name=f"s{n}", task="t", cron="0 0 * * *")
    # Two for who asks; the time (none on SQLite); the agenda's four; the overview's five;
    # what workers are at, two; the report; the last hour; failures, two; whether there
    # are jobs.
    with django_assert_num_queries(18 + queries_of(get_engine().now)):
        admin_client.get(path)


def queries_of(ask):
    with CaptureQueriesContext(connection) as captured:
        ask()
    return len(captured)


@pytest.mark.parametrize(
    ("per_minute", "text"),
    [(0, "0"), (0.02, "< 0.1"), (0.19, "0.2"), (9.94, "9.9"), (12.3, "12")],
)
def test_a_rate_is_never_nothing_if_there_was_something(per_minute, text):
    assert dashboard_page._rate(per_minute) == text
