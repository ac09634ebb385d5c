import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import escape, strip_tags

from django_bgtasks.admin import display, job_page
from django_bgtasks.models import Attempt, Job, Schedule
from django_bgtasks.redaction import MASK
from django_bgtasks.store import queues
from tests.admin.pages import (
    MARKUP,
    changelist,
    failed_attempt,
    field,
    job_that_is,
    page,
    text_of,
    utc,
)
from tests.factories import living_worker, make_job

pytestmark = pytest.mark.django_db


def test_the_page_tells_all_about_a_job(admin_client):
    row = job_that_is(
        "SCHEDULED",
        queue="mail",
        priority=-7,
        attempt=2,
        args=[1, {"name": "Zoë"}],
        kwargs={"subject": "Hi"},
        timeout=90,
    )
    response = admin_client.get(page(row))
    assert field(response, "id") == str(row.pk)
    assert field(response, "task_name") == "tests.sample.tasks.add"
    assert field(response, "status_now") == "Scheduled"
    assert field(response, "queue") == "mail"
    assert field(response, "priority") == "-7"
    assert field(response, "attempts_so_far") == "2 of 3"
    assert field(response, "arguments") == '[ 1, { "name": "Zoë" } ]'
    assert field(response, "keyword_arguments") == '{ "subject": "Hi" }'
    assert field(response, "return_value") == "-"
    assert field(response, "timing").startswith("waits until")
    assert field(response, "time_limit") == "1 min 30 s"
    assert "Attempts that did not succeed" not in text_of(response)


def test_results_are_indented(admin_client):
    row = job_that_is("SUCCESSFUL", result={"a": [1]})
    html = admin_client.get(page(row)).content.decode()
    shown = "{\n  &quot;a&quot;: [\n    1\n  ]\n}"
    assert f'<pre class="bgtasks-code" tabindex="0">{shown}</pre>' in html


def test_none_is_a_result_of_a_job_that_succeeded(admin_client):
    response = admin_client.get(page(job_that_is("SUCCESSFUL", result=None)))
    assert field(response, "return_value") == "null"


def test_a_huge_result_is_cut(admin_client, monkeypatch):
    monkeypatch.setattr(display, "JSON_LIMIT", 10)
    row = job_that_is("SUCCESSFUL", result="0123456789" * 3)
    response = admin_client.get(page(row))
    assert field(response, "return_value") == '"012345678 … and 22 more characters'


def test_text_that_no_page_can_hold(admin_client, only):
    only("sqlite")  # The others do not store it.
    response = admin_client.get(page(make_job(args=["\ud800"])))
    assert field(response, "arguments") == '[ "\\ud800" ]'


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        ({"done": 2, "total": 8, "message": "halfway"}, "2 of 8 halfway"),
        ({"done": 0.5, "total": 1.5, "message": ""}, "0.5 of 1.5"),
        ({"done": 3, "total": None, "message": "so far"}, "3 so far"),
        ({"done": 0, "total": 0, "message": ""}, "0"),
    ],
)
def test_progress(admin_client, progress, expected):
    row = job_that_is("RUNNING", progress=progress)
    assert field(admin_client.get(page(row)), "progress_so_far") == expected


def test_without_progress_there_is_no_line_for_it(admin_client):
    response = admin_client.get(page(job_that_is("RUNNING")))
    assert "field-progress_so_far" not in response.text


def test_progress_is_a_bar_in_every_language(admin_client, settings):
    settings.LANGUAGE_CODE = "de"
    row = job_that_is("RUNNING", progress={"done": 0.5, "total": 1500, "message": ""})
    html = admin_client.get(page(row)).content.decode()
    assert 'value="0.5" max="1500" ' in html


def test_a_worker_is_named_while_it_lives(admin_client):
    worker = living_worker(hostname="box", pid=7)
    row = job_that_is("RUNNING", worker=worker.pk, last_worker=worker.pk)
    response = admin_client.get(page(row))
    assert field(response, "worker_name") == f"box:7 ({worker.pk})"
    worker.delete()
    assert field(admin_client.get(page(row)), "worker_name") == str(row.worker)


def test_that_it_was_asked_to_stop(admin_client):
    row = job_that_is(
        "RUNNING", cancel_requested_at=utc(2026, 1, 1, 12), cancel_requested_by="<ada>"
    )
    response = admin_client.get(page(row))
    shown = field(response, "status_now")
    assert shown == "Running asked to stop 2026-01-01 13:00:00 by <ada>"


def test_who_cancelled_it_is_kept(admin_client):
    row = job_that_is("CANCELLED", cancel_requested_at=utc(2026, 1, 1, 12))
    response = admin_client.get(page(row))
    assert field(response, "status_now") == "Cancelled 2026-01-01 13:00:00"


def test_a_task_that_is_gone_is_said_to_be(admin_client):
    gone = make_job(task="gone.with.the.last.release")
    response = admin_client.get(page(gone))
    assert field(response, "task_name") == (
        "gone.with.the.last.release There is no task of this name here."
    )
    assert admin_client.get(changelist()).status_code == 200


def test_that_workers_do_not_know_a_task(admin_client):
    since = utc(2025, 7, 1, 10, 0, 5)
    row = job_that_is("SCHEDULED", unknown_since=since)
    assert field(admin_client.get(page(row)), "task_name") == (
        "tests.sample.tasks.add No worker has known it since 2025-07-01 12:00:05 ."
    )


def test_every_failed_attempt_can_be_read(admin_client):
    row = job_that_is("FAILED")
    for number in (1, 2):
        failed_attempt(row, number, traceback=f"Traceback\n  File {number}\n")
    failed_attempt(
        row,
        3,
        ending=Attempt.Ending.TIMED_OUT,
        started_at=timezone.now() - timedelta(seconds=90),
        finished_at=timezone.now(),
        exception_class_path="shop.Slow",
    )
    response = admin_client.get(page(row))
    text = text_of(response).partition("Attempts that did not succeed")[2]
    assert text.index("Attempt 3 Timed out") < text.index("Attempt 2 Failed")
    assert text.index("Attempt 2 Failed") < text.index("Attempt 1 Failed")
    assert "ValueError: number 1" in text
    assert "Duration 1 min 30 s" in text
    assert f"Worker {row.last_worker}" in text
    assert "Exception shop.Slow" in text
    assert '<div class="bgtasks-lines">Traceback\n  File 2\n</div>' in (
        response.content.decode()
    )


def test_frames_of_libraries_are_folded(admin_client):
    library = '  File "/venv/site-packages/x.py", line 1, in get\n    no()\n'
    own = '  File "/srv/shop.py", line 7, in <lambda>\n    <b>&amp;</b>\n'
    row = job_that_is("FAILED")
    failed_attempt(row, traceback=f"Traceback:\n{library}{library}{own}No\n")
    response = admin_client.get(page(row))
    assert "<summary>… 2 frames of libraries</summary>" in response.text
    assert (
        f'bgtasks-own"><span class="visually-hidden">Own code:</span>{escape(own)}'
        in (response.text)
    )


def test_the_timeline_is_told(admin_client):
    row = job_that_is("FAILED", attempt=1)
    failed_attempt(row, started_at=row.started_at, finished_at=row.finished_at)
    text = text_of(admin_client.get(page(row))).partition("Timeline")[2]
    places = [
        text.index(words)
        for words in ("Enqueued", "Attempt 1 Failed ran 3.0 s", "Finished Failed")
    ]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("status", "seconds"),
    [
        ("RUNNING", 2),
        ("READY", 5),
        ("SCHEDULED", 5),
        ("SUCCESSFUL", None),
        ("FAILED", None),
        ("CANCELLED", None),
    ],
)
def test_a_page_is_kept_fresh_until_its_job_is_finished(admin_client, status, seconds):
    response = admin_client.get(page(job_that_is(status)))
    kept = re.findall(
        r'id="(bgtasks-[^"]*)"[^>]* data-bgtasks-live="(.)"', response.text
    )
    parts = {"tools", "status", "state", "timeline", "attempts-part", "fields-1"}
    if seconds is None:
        assert kept == []
    else:
        assert {f"bgtasks-{part}" for part in parts} <= {part for part, _ in kept}
        assert {every for _, every in kept} == {str(seconds)}
    assert "django_bgtasks/live.js" in response.text


def test_what_is_kept_fresh_is_the_same_until_something_changes(admin_client):
    """Else a button would be replaced while somebody presses it."""
    row = job_that_is("RUNNING", cancel_requested_at=timezone.now())
    tools = [
        re.search(r'<div id="bgtasks-tools".*?</div>', html, re.DOTALL)[0]
        for html in (admin_client.get(page(row)).text for _ in range(2))
    ]
    assert tools[0] == tools[1]
    assert "csrf" not in tools[0]


def test_only_a_change_of_the_status_is_said_aloud(admin_client):
    html = admin_client.get(page(job_that_is("RUNNING"))).text
    (spoken,) = re.findall(r'<div role="status">(.*?)</div></div></div>', html)
    assert strip_tags(spoken) == "Running"
    assert "aria-live" not in html


def test_how_long_it_will_take(admin_client):
    progress = {"done": 1, "total": 4, "message": "x"}
    started = timezone.now() - timedelta(seconds=60)
    row = job_that_is("RUNNING", progress=progress, started_at=started)
    shown = field(admin_client.get(page(row)), "pace")
    assert shown.startswith("25 % · running for 1 min · about 3 min left")
    row = job_that_is("FAILED", progress=progress)
    assert "field-pace" not in admin_client.get(page(row)).text


def test_who_did_what(admin_client, member):
    row = job_that_is("FAILED")
    assert "Who did what" not in text_of(admin_client.get(page(row)))
    admin_client.post(page(row, "retry"))
    admin_client.post(page(row, "cancel"))
    text = text_of(admin_client.get(page(row))).partition("Who did what")[2]
    assert text.index("admin Cancelled.") < text.index("admin Retried.")
    assert "All of the history" in text


def test_the_newest_of_the_log_are_shown(admin_client, admin_user):
    row = job_that_is("FAILED")
    for number in range(job_page.LOG_LIMIT + 1):
        LogEntry.objects.log_actions(admin_user.pk, [row], CHANGE, f"Act {number}!")
    text = text_of(admin_client.get(page(row)))
    assert "Act 0!" not in text
    assert text.index("Act 20!") < text.index("Act 1!")


@pytest.mark.parametrize(
    ("status", "name"),
    [("READY", "Cancel"), ("SCHEDULED", "Cancel"), ("RUNNING", "Stop")],
)
def test_a_button_says_what_it_does(admin_client, status, name):
    html = admin_client.get(page(job_that_is(status))).text
    assert re.search(r'id="bgtasks-cancel"[^>]*>(\w+)<', html)[1] == name


def test_the_attempts_of_a_stubborn_job_are_cut(admin_client, monkeypatch):
    monkeypatch.setattr(job_page, "ATTEMPT_LIMIT", 2)
    row = job_that_is("FAILED")
    failed_attempt(row, 1)
    failed_attempt(row, 2)
    assert "more attempts before" not in text_of(admin_client.get(page(row)))
    failed_attempt(row, 3)
    text = text_of(admin_client.get(page(row)))
    assert "Attempt 3" in text
    assert "Attempt 1 " not in text
    assert "There were more attempts before these." in text


def test_older_tracebacks_are_linked_to(admin_client, monkeypatch):
    monkeypatch.setattr(job_page, "TRACEBACK_LIMIT", 1)
    row = job_that_is("FAILED")
    old, new = (failed_attempt(row, n, traceback=f"text {n}\n") for n in (1, 2))
    response = admin_client.get(page(row))
    assert "text 2" in response.text
    assert "text 1" not in response.text
    for attempt in (old, new):
        assert page(row, "traceback", attempt.pk) in response.text


def test_what_a_job_says_is_text(admin_client):
    row = job_that_is(
        "SUCCESSFUL",
        queue=MARKUP,
        backend=MARKUP,
        args=[MARKUP],
        kwargs={MARKUP: MARKUP},
        result={MARKUP: MARKUP},
        progress={"done": MARKUP, "total": MARKUP, "message": MARKUP},
    )
    failed_attempt(row, error=MARKUP, traceback=MARKUP, exception_class_path=MARKUP)
    for view in ("change", "delete", "history"):
        html = admin_client.get(page(row, view)).content.decode()
        assert "<script>alert" not in html
    text = text_of(admin_client.get(page(row)))
    # Queue, backend, progress (thrice), error, exception (twice), traceback.
    assert text.count(MARKUP) == 9
    assert text.count(MARKUP.replace('"', '\\"')) == 5


def test_the_name_of_a_task_is_text(admin_client):
    row = job_that_is("FAILED", task=MARKUP, args=[MARKUP], kwargs={MARKUP: MARKUP})
    for url in (changelist(), page(row), page(row, "delete"), page(row, "history")):
        response = admin_client.get(url)
        assert "<script>alert" not in response.content.decode()
        assert MARKUP in text_of(response)


# -- what not all may see


SECRET = "what only some may see"


@pytest.fixture(params=["READY", "RUNNING", "SCHEDULED", "FAILED", "SUCCESSFUL"])
def telling(request):
    """A job that says the same wherever it can say anything."""
    row = job_that_is(
        request.param,
        args=[SECRET],
        kwargs={SECRET: SECRET},
        result=SECRET,
        metadata={SECRET: SECRET},
        progress={"done": 1, "total": 2, "message": SECRET},
    )
    row.started_at = row.started_at or timezone.now() - timedelta(seconds=9)
    row.save()
    failed_attempt(
        row,
        started_at=row.started_at,
        error=f"ValueError: {SECRET}.",
        traceback=f"{SECRET}\n",
    )
    return row


def test_arguments_are_for_those_with_the_permission(member, telling):
    client = member("view_job", "view_job_arguments")
    assert SECRET in client.get(page(telling)).text


def test_nobody_else_sees_any_of_it(member, telling):
    client = member("view_job", "change_job", "delete_job", "retry_job", "cancel_job")
    for view in ("change", "delete", "history"):
        response = client.get(page(telling, view), follow=True)
        assert SECRET not in response.text, view
        assert SECRET not in text_of(response), view
    response = client.get(page(telling))
    assert "permission “Can view arguments and results of job”" in text_of(response)
    assert "builtins.ValueError" in text_of(response)
    assert "1 of 2" in text_of(response)
    (attempt,) = telling.attempts.all()
    url = page(telling, "traceback", attempt.pk)
    assert client.get(url).status_code == 403
    assert url not in response.text


def test_what_holds_it_is_said_without_its_error(member):
    row = job_that_is("SCHEDULED", started_at=timezone.now() - timedelta(seconds=9))
    failed_attempt(row, error=f"ValueError: {SECRET}.")
    shown = field(member("view_job").get(page(row)), "situation")
    assert "Attempt 0 of 3 did not succeed. The next is due in " in shown
    client = member("view_job", "view_job_arguments")
    assert f"not succeed: ValueError: {SECRET}. The" in field(
        client.get(page(row)), "situation"
    )


def test_a_traceback_as_plain_text(admin_client, member):
    row = job_that_is("FAILED")
    attempt = failed_attempt(row, traceback=f"<b>{MARKUP}\n")
    url = page(row, "traceback", attempt.pk)
    assert url in admin_client.get(page(row)).text
    response = admin_client.get(url)
    assert response.text == f"<b>{MARKUP}\n"
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response["X-Content-Type-Options"] == "nosniff"
    # Not of another job, and not for who may not look at jobs.
    assert (
        admin_client.get(page(make_job(), "traceback", attempt.pk)).status_code == 404
    )
    assert member("view_job_arguments").get(url).status_code == 403


# -- what is not to be seen


def test_sensitive_arguments_are_not_shown(admin_client):
    row = job_that_is(
        "READY",
        task="tests.sample.tasks.pay",
        args=["ada", "hunter2"],
        kwargs={"how": "message", "card": {"number": 4111111111111111}},
    )
    response = admin_client.get(page(row))
    assert field(response, "arguments") == f'[ "ada", "{MASK}" ]'
    assert field(response, "keyword_arguments") == (
        f'{{ "how": "message", "card": "{MASK}" }}'
    )
    html = response.content.decode()
    assert "hunter2" not in html
    assert "4111" not in html
    row.refresh_from_db()
    assert row.args == ["ada", "hunter2"]


def test_what_was_declared_sensitive_later_is_not_shown(admin_client):
    row = job_that_is("FAILED", task="tests.sample.tasks.pay", args=["ada", "hunter2"])
    attempt = failed_attempt(row, error="no hunter2", traceback="a hunter2\n")
    for url in (page(row), page(row, "traceback", attempt.pk)):
        response = admin_client.get(url)
        assert "hunter2" not in response.text
        assert MASK in response.text


def test_what_a_task_made_of_them_is_not_shown(admin_client):
    row = job_that_is(
        "SUCCESSFUL",
        task="tests.sample.tasks.pay_step_by_step",
        args=['it\'s "mine"'],
        result={"paid": 'it\'s "mine"'},
        progress={"done": 1, "total": None, "message": 'with it\'s "mine"'},
    )
    response = admin_client.get(page(row))
    assert field(response, "return_value") == f'{{ "paid": "{MASK}" }}'
    assert field(response, "progress_so_far") == f"1 with {MASK}"


def test_nobody_knows_what_was_sensitive_in_a_task_that_is_gone(admin_client):
    row = job_that_is(
        "SUCCESSFUL",
        task="gone.with.the.last.release",
        args=["hunter2"],
        kwargs={"card": {"number": 1}},
        result="hunter2",
    )
    response = admin_client.get(page(row))
    assert field(response, "arguments") == f'[ "{MASK}" ]'
    assert field(response, "keyword_arguments") == f'{{ "card": "{MASK}" }}'
    assert field(response, "return_value") == f'"{MASK}"'


@pytest.mark.parametrize("count", [0, 1, 50])
def test_the_number_of_queries_does_not_depend_on_attempts_and_children(
    admin_client, count, django_assert_num_queries
):
    row = job_that_is("FAILED")
    for number in range(count):
        failed_attempt(row, number, worker=living_worker().pk)
        make_job(parent=row.pk)
        LogEntry.objects.log_actions(
            get_user_model().objects.get().pk, [row], CHANGE, "Retried."
        )
    # Session, user, job, its attempts, their workers, its children, the log.
    with django_assert_num_queries(7):
        admin_client.get(page(row))


def test_the_number_of_queries_of_a_page_with_all_there_can_be(
    admin_client, admin_user, django_assert_num_queries
):
    row = job_that_is(
        "READY",
        creator=f"auth.user:{admin_user.pk}",
        parent=make_job().pk,
        schedule=Schedule.objects.create(name="nightly", task="x", cron="@daily").pk,
        progress={"done": 1, "total": 2, "message": ""},
        metadata={"a": 1},
    )
    failed_attempt(row)
    with CaptureQueriesContext(connections["default"]) as few:
        admin_client.get(page(row))
    for number in range(30):
        failed_attempt(row, number)
        make_job(parent=row.pk)
    with django_assert_num_queries(len(few)):
        admin_client.get(page(row))
    # Beyond the 7: creator, parent, schedule; the time and what explain() asks.
    assert len(few) <= 18


def test_what_holds_a_job_is_said_until_it_is_finished(admin_client):
    row = job_that_is("READY", queue=MARKUP)
    queues.pause(MARKUP)
    response = admin_client.get(page(row))
    shown = field(response, "situation")
    assert shown.startswith(f"Queue {MARKUP} has been paused since ")
    assert "No worker is alive." in shown
    assert MARKUP not in response.content.decode()
    assert "has been paused since" not in text_of(admin_client.get(changelist()))
    Job.objects.all().cancel()
    assert "field-situation" not in admin_client.get(page(row)).content.decode()


def test_nothing_can_be_edited(admin_client):
    row = make_job()
    before = Job.objects.values().get()
    response = admin_client.get(page(row))
    assert 'name="_save"' not in response.content.decode()
    data = {"task": "other", "status": "SUCCESSFUL", "_save": "Save"}
    assert admin_client.post(page(row), data).status_code == 403
    assert Job.objects.values().get() == before


def test_nothing_can_be_added(admin_client):
    assert admin_client.get(changelist() + "add/").status_code == 403


@pytest.mark.parametrize("key", ["0" * 32, "nonsense", "1"])
def test_a_job_that_is_not_there(admin_client, key):
    assert admin_client.get(f"{changelist()}{key}/change/").status_code == 302
    assert admin_client.get(f"{changelist()}{key}/delete/").status_code == 302


@pytest.mark.parametrize(
    ("status", "columns", "buttons"),
    [
        ("SCHEDULED", {}, {"cancel"}),
        ("READY", {}, {"cancel"}),
        ("RUNNING", {}, {"cancel"}),
        ("RUNNING", {"cancel_requested_at": timezone.now()}, set()),
        ("SUCCESSFUL", {}, set()),
        ("FAILED", {}, {"retry"}),
        ("CANCELLED", {"cancel_requested_at": timezone.now()}, {"retry"}),
    ],
)
def test_the_buttons_that_apply_are_there(admin_client, status, columns, buttons):
    row = job_that_is(status, **columns)
    html = admin_client.get(page(row)).content.decode()
    assert {v for v in ("retry", "cancel") if page(row, v) in html} == buttons


def test_pages_hold_no_inline_style_or_script(admin_client):
    """A strict Content-Security-Policy lets neither through."""
    row = job_that_is("FAILED", progress={"done": 1, "total": 2, "message": ""})
    failed_attempt(row)
    for url in (changelist(), page(row)):
        html = admin_client.get(url).content.decode()
        assert " style=" not in html
        assert "<style" not in html
        assert "onclick=" not in html
        assert "<script>" not in html
        assert "django_bgtasks/admin.css" in html


def test_labels_and_limits_are_told(admin_client):
    parent = make_job()
    row = make_job(
        verbose_name=f"Orders {MARKUP}",
        creator="auth.user:5",
        tags=["export", MARKUP],
        metadata={"ticket": MARKUP},
        parent=parent.pk,
        expires_at=utc(2026, 1, 1, 12),
        retention=timedelta(hours=2),
        unique_key="k",
        unique_until="started",
    )
    response = admin_client.get(page(row))
    assert MARKUP not in response.text
    assert field(response, "label") == f"Orders {MARKUP}"
    assert field(response, "creator") == "auth.user:5, which is not to be found"
    assert field(response, "tag_list") == f"export, {MARKUP}"
    assert field(response, "parent_link") == (
        f"Ready {parent.pk} tests.sample.tasks.add"
    )
    assert page(parent) in response.text
    assert "ticket" in field(response, "notes")
    assert field(response, "expires_on") == "2026-01-01 13:00:00"
    assert field(response, "kept_for") == "2 h"
    assert field(response, "unique_note") == "it is started"


def test_a_job_without_labels_and_limits_has_no_lines_for_them(admin_client):
    response = admin_client.get(page(make_job()))
    for name in ("label", "notes", "expires_on"):
        assert f"field-{name}" not in response.text


def test_a_job_that_expired_says_so(admin_client):
    moment = utc(2026, 1, 1, 12)
    row = job_that_is("CANCELLED", cancel_requested_at=moment, expires_at=moment)
    response = admin_client.get(page(row))
    assert field(response, "status_now") == (
        "Cancelled No worker had begun it before it expired."
    )
