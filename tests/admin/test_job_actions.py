import csv
import io
import json

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from django_bgtasks.admin import job_actions, job_export
from django_bgtasks.models import Attempt, Job
from django_bgtasks.testing import run_jobs
from tests.admin.pages import (
    MARKUP,
    act,
    changelist,
    delete,
    failed_attempt,
    job_that_is,
    listed,
    log_entries,
    page,
    said,
    text_of,
    utc,
)
from tests.factories import make_job, make_jobs

pytestmark = pytest.mark.django_db

ALL = (
    "add_job",
    "change_job",
    "delete_job",
    "view_job",
    "retry_job",
    "cancel_job",
    "view_job_arguments",
)
#: The actions of the list, by the permission that they need.
ACTIONS = {
    "retry_job": {"retry_selected"},
    "cancel_job": {"cancel_selected"},
    "change_job": {
        "run_now_selected",
        "set_priority_selected",
        "move_selected",
        "reschedule_selected",
    },
    "delete_job": {"delete_selected"},
}
EXPORTS = {"export_csv", "export_json"}


@pytest.fixture
def jobs():
    """One of each status."""
    return {status: job_that_is(status) for status in Job.Status.values}


def statuses():
    return dict(Job.objects.values_list("pk", "status"))


# -- retry


def test_retry_takes_the_failed_and_the_cancelled(admin_client, jobs):
    response = act(admin_client, "retry_selected", jobs.values())
    assert response.url == changelist()
    assert said(response) == [
        "2 jobs will be retried.",
        "4 jobs were neither failed nor cancelled and were left as they were.",
    ]
    retried = {jobs["FAILED"].pk, jobs["CANCELLED"].pk}
    for job in Job.objects.all():
        expected = "READY" if job.pk in retried else jobs[job.status].status
        assert job.status == expected
    assert log_entries() == {(str(pk), "Change", "Retried.") for pk in retried}
    assert {entry.user.username for entry in LogEntry.objects.all()} == {"admin"}


def test_one_is_one(admin_client):
    response = act(admin_client, "retry_selected", [job_that_is("FAILED")])
    assert said(response) == ["1 job will be retried."]
    response = act(admin_client, "retry_selected", [make_job()])
    assert said(response) == [
        "1 job was neither failed nor cancelled and was left as it was."
    ]


def test_only_what_is_selected_is_retried(admin_client):
    chosen, other = job_that_is("FAILED"), job_that_is("FAILED")
    act(admin_client, "retry_selected", [chosen])
    assert statuses() == {chosen.pk: "READY", other.pk: "FAILED"}


def test_a_retry_keeps_the_filters_of_the_list(admin_client):
    job = job_that_is("FAILED")
    response = admin_client.post(
        changelist() + "?status=FAILED",
        {"action": "retry_selected", "index": "0", "_selected_action": [job.pk]},
    )
    assert response.url == changelist() + "?status=FAILED"


# -- cancel


def test_cancel_ends_what_waits_and_asks_what_runs(admin_client, jobs):
    response = act(admin_client, "cancel_selected", jobs.values())
    assert said(response) == [
        "2 jobs were cancelled.",
        "1 running job was asked to stop.",
        "3 jobs had finished already and were left as they were.",
    ]
    after = statuses()
    assert after == {
        **{job.pk: status for status, job in jobs.items()},
        jobs["SCHEDULED"].pk: "CANCELLED",
        jobs["READY"].pk: "CANCELLED",
    }
    (asked,) = Job.objects.running().exclude(cancel_requested_at=None)
    assert asked == jobs["RUNNING"]
    assert log_entries() == {
        (str(jobs["SCHEDULED"].pk), "Change", "Cancelled."),
        (str(jobs["READY"].pk), "Change", "Cancelled."),
        (str(jobs["RUNNING"].pk), "Change", "Asked to stop."),
    }


# -- delete


def test_delete_asks_first(admin_client):
    job = job_that_is("FAILED", verbose_name=MARKUP)
    response = act(admin_client, "delete_selected", [job])
    assert "Are you sure" in text_of(response)
    assert str(job.pk) in text_of(response)
    assert "<script>alert" not in response.content.decode()
    assert Job.objects.exists()
    assert not LogEntry.objects.exists()


def test_delete_takes_all_but_running_jobs(admin_client, jobs):
    failed_attempt(jobs["FAILED"])
    failed_attempt(jobs["RUNNING"])
    response = delete(admin_client, jobs.values())
    assert said(response) == [
        "5 jobs were deleted.",
        "1 running job cannot be deleted. Stop it first.",
    ]
    assert list(Job.objects.all()) == [jobs["RUNNING"]]
    assert [attempt.job for attempt in Attempt.objects.all()] == [jobs["RUNNING"]]
    keys = {str(j.pk) for status, j in jobs.items() if status != "RUNNING"}
    assert {(key, flag) for key, flag, _ in log_entries()} == {
        (key, "Deletion") for key in keys
    }


def test_who_may_delete_jobs_may_delete_their_attempts(member):
    client = member("view_job", "delete_job")
    by_action, by_page = job_that_is("FAILED"), job_that_is("FAILED")
    failed_attempt(by_action)
    failed_attempt(by_page)
    assert said(delete(client, [by_action])) == ["1 job was deleted."]
    assert "Are you sure" in text_of(client.get(page(by_page, "delete")))
    assert client.post(page(by_page, "delete"), {"post": "yes"}).status_code == 302
    assert not Job.objects.exists()
    assert not Attempt.objects.exists()


def test_a_running_job_is_not_deleted_from_its_page(admin_client):
    job = job_that_is("RUNNING")
    response = admin_client.get(page(job))
    assert page(job, "delete") not in response.content.decode()
    assert "A running job cannot be deleted. Stop it first." in text_of(response)
    for send in (admin_client.get, admin_client.post):
        response = send(page(job, "delete"), {"post": "yes"})
        assert response.url == page(job)
        assert said(response) == ["1 running job cannot be deleted. Stop it first."]
    assert Job.objects.exists()
    assert not LogEntry.objects.exists()


# -- what is waiting


def test_run_now_takes_what_waits_for_its_time(admin_client, jobs):
    response = act(admin_client, "run_now_selected", jobs.values())
    assert said(response) == [
        "1 job was made ready.",
        "5 jobs were not scheduled for later and were left as they were.",
    ]
    pk = jobs["SCHEDULED"].pk
    assert statuses() == {**{j.pk: s for s, j in jobs.items()}, pk: "READY"}
    assert log_entries() == {(str(pk), "Change", "Made ready before its time.")}


CHANGES = [
    ("set_priority", {"priority": "-7"}, "priority", -7, "Given the priority -7."),
    ("move", {"queue": "mail"}, "queue", "mail", "Moved to the queue “mail”."),
]


@pytest.mark.parametrize(("name", "data", "column", "value", "note"), CHANGES)
def test_what_waits_is_changed(admin_client, jobs, name, data, column, value, note):
    response = act(admin_client, f"{name}_selected", jobs.values())
    assert f'name="{column}"' in response.content.decode()
    assert f"This is for {len(jobs)} jobs." in text_of(response)
    assert not Job.objects.filter(**{column: value}).exists()

    response = answer(admin_client, f"{name}_selected", jobs.values(), **data)
    assert "4 jobs were not waiting and were left as they were." in said(response)
    changed = Job.objects.filter(**{column: value})
    assert {job.pk for job in changed} == {jobs["READY"].pk, jobs["SCHEDULED"].pk}
    assert log_entries() == {(str(job.pk), "Change", note) for job in changed}
    assert statuses() == {job.pk: status for status, job in jobs.items()}


def test_jobs_are_given_another_time(admin_client, jobs):
    late = {"run_after": "2125-01-02T04:04:05"}  # in Europe/Berlin
    response = answer(admin_client, "reschedule_selected", jobs.values(), **late)
    assert said(response)[0] == "The time of 2 jobs was changed."
    changed = Job.objects.filter(run_after=utc(2125, 1, 2, 3, 4, 5))
    assert {job.pk for job in changed} == {jobs["READY"].pk, jobs["SCHEDULED"].pk}
    assert {job.status for job in changed} == {"SCHEDULED"}
    past = {"run_after": "2020-01-01T00:00"}
    answer(admin_client, "reschedule_selected", jobs.values(), **past)
    assert {
        job.status
        for job in changed.model.objects.filter(
            pk__in=[jobs["READY"].pk, jobs["SCHEDULED"].pk]
        )
    } == {"READY"}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("set_priority", {"priority": "101"}),
        ("set_priority", {}),
        ("move", {"queue": ""}),
        ("move", {"queue": "x" * 101}),
        ("reschedule", {"run_after": "soon"}),
        ("reschedule", {"run_after": "0001-01-01T00:00"}),
        ("reschedule", {"run_after": "9999-12-31T23:59"}),
    ],
)
def test_what_cannot_be_is_asked_again(admin_client, name, data):
    job = make_job()
    before = Job.objects.values().get()
    response = answer(admin_client, f"{name}_selected", [job], **data)
    assert response.status_code == 200
    assert "errorlist" in response.content.decode()
    assert Job.objects.values().get() == before


def answer(client, action, rows, **data):
    """What the page that an action leads to sends, when its button is pressed."""
    keys = [row.pk for row in rows]
    sent = {"action": action, "post": "yes", "_selected_action": keys, **data}
    return client.post(changelist(), sent)


def test_what_was_asked_for_with_more_permissions_is_not_retried(member):
    sweep = job_that_is("CANCELLED", task="django_bgtasks.sweep", args=["delete", {}])
    client = member("view_job", "retry_job")
    assert "Retry</button>" not in client.get(page(sweep)).content.decode()
    client.post(page(sweep, "retry"))
    act(client, "retry_selected", [sweep])
    assert Job.objects.get().status == "CANCELLED"


# -- all that match


def test_all_that_match_can_be_selected(admin_client):
    make_jobs(60, status="FAILED", finished_at=timezone.now())
    spared = job_that_is("CANCELLED")
    response = across(admin_client, "retry_selected", "?status=FAILED", index="0")
    assert said(response) == ["60 jobs will be retried."]
    assert Job.objects.get(pk=spared.pk).status == "CANCELLED"
    assert LogEntry.objects.count() == 60


def test_many_are_asked_about_and_left_to_a_job(admin_client, admin_user, monkeypatch):
    monkeypatch.setattr(job_actions, "ACTION_LIMIT", 3)
    jobs = [job_that_is("SCHEDULED", queue="mail") for _ in range(5)]
    spared = job_that_is("SCHEDULED")
    address = "?status=SCHEDULED&queue=mail"
    response = across(admin_client, "cancel_selected", address, index="0")
    assert "more than 3. A job of its own will do it" in text_of(response)
    assert "Queue: mail" in text_of(response)
    assert {job.status for job in Job.objects.all()} == {"SCHEDULED"}

    response = across(admin_client, "cancel_selected", address, post="yes")
    sweep = Job.objects.get(task="django_bgtasks.sweep")
    assert response.url == page(sweep)
    assert sweep.creator == f"auth.user:{admin_user.pk}"
    assert "Cancelled. Status: Scheduled, queue: mail" in sweep.verbose_name
    assert log_entries() == {
        (
            str(sweep.pk),
            "Change",
            "Cancelled. All that match: status: Scheduled, queue: mail.",
        )
    }
    later = job_that_is("SCHEDULED", queue="mail")
    (result,) = run_jobs()
    assert result.return_value == {"cancelled": 5}
    after = statuses()
    assert {after[job.pk] for job in jobs} == {"CANCELLED"}
    assert after[spared.pk] == after[later.pk] == "SCHEDULED"
    assert Job.objects.get(pk=jobs[0].pk).cancel_requested_by == "admin"


def test_a_deed_with_a_form_is_left_to_a_job_with_what_was_filled_in(
    admin_client, monkeypatch
):
    monkeypatch.setattr(job_actions, "ACTION_LIMIT", 3)
    jobs = [job_that_is("SCHEDULED") for _ in range(5)]
    action = "set_priority_selected"
    assert 'name="priority"' in across(admin_client, action).content.decode()
    across(admin_client, action, post="yes", priority="9")
    sweep = Job.objects.get(task="django_bgtasks.sweep")
    assert sweep.args == ["set_priority", {}, {"priority": 9}]
    assert "All jobs" in sweep.verbose_name
    assert {
        job.priority for job in Job.objects.filter(pk__in=[j.pk for j in jobs])
    } == {0}


def test_all_of_a_selection_that_cannot_be_are_none(admin_client):
    job = job_that_is("FAILED")
    for post in ({"index": "0"}, {"post": "yes"}):
        response = across(admin_client, "delete_selected", "?status=NONE", **post)
        assert response.status_code == 302
    assert statuses() == {job.pk: "FAILED"}


def test_all_by_an_argument_needs_the_permission_to_see_it(member):
    job = job_that_is("FAILED", args=[42])
    other = job_that_is("FAILED", args=[43])
    blind = member("view_job", "retry_job")
    assert said(across(blind, "retry_selected", "?q=a%3D42", index="0")) == [
        "There are no such jobs."
    ]
    seeing = member("view_job", "retry_job", "view_job_arguments")
    across(seeing, "retry_selected", "?q=a%3D42", index="0")
    assert statuses() == {job.pk: "READY", other.pk: "FAILED"}


def test_what_is_searched_for_is_not_told_to_all(member, monkeypatch):
    """Its job and the logs are for those, too, who may not see arguments."""
    monkeypatch.setattr(job_actions, "ACTION_LIMIT", 1)
    for _ in range(2):
        make_job(args=["ada"], kwargs={"b": "secret"})
    client = member("view_job", "view_job_arguments", "cancel_job")
    across(client, "cancel_selected", "?q=b%3Dsecret&queue=default", post="yes")
    across(client, "export_csv", "?q=b%3Dsecret", index="0")
    (sweep,) = Job.objects.for_task("django_bgtasks.sweep")
    assert sweep.verbose_name == "Cancelled. Queue: default, search: …"
    other = member("view_job")
    for url in (changelist(), page(sweep), page(sweep, "history")):
        assert "secret" not in other.get(url).content.decode()
    assert not LogEntry.objects.filter(change_message__contains="secret").exists()


def across(client, action, address="", **data):
    """Run an action for all that match."""
    sent = {"action": action, "select_across": "1", "_selected_action": ["x"], **data}
    return client.post(changelist() + address, sent)


# -- the buttons of a job's page


def test_the_button_retry(admin_client):
    job = job_that_is("FAILED")
    response = admin_client.post(page(job, "retry"))
    assert response.url == page(job)
    assert said(response) == ["1 job will be retried."]
    assert statuses() == {job.pk: "READY"}
    assert log_entries() == {(str(job.pk), "Change", "Retried.")}
    assert "Retried." in text_of(admin_client.get(page(job, "history")))


def test_the_button_cancel(admin_client):
    job = job_that_is("READY")
    response = admin_client.post(page(job, "cancel"))
    assert response.url == page(job)
    assert said(response) == ["1 job was cancelled."]
    assert statuses() == {job.pk: "CANCELLED"}
    assert log_entries() == {(str(job.pk), "Change", "Cancelled.")}


def test_a_button_pressed_too_late_changes_nothing(admin_client):
    job = job_that_is("SUCCESSFUL")
    admin_client.post(page(job, "retry"))
    response = admin_client.post(page(job, "cancel"))
    assert said(response) == ["1 job had finished already and was left as it was."]
    assert statuses() == {job.pk: "SUCCESSFUL"}
    assert not LogEntry.objects.exists()


def test_buttons_keep_the_way_back_to_the_filtered_list(admin_client):
    job = job_that_is("FAILED")
    filters = "?_changelist_filters=status%3DFAILED"
    html = admin_client.get(page(job) + filters).content.decode()
    assert f'action="{page(job, "retry")}{filters}"' in html
    response = admin_client.post(page(job, "retry") + filters)
    assert response.url == page(job) + filters


@pytest.mark.parametrize("view", ["retry", "cancel"])
def test_buttons_of_a_job_that_is_gone(admin_client, view):
    job = make_job()
    url = page(job, view)
    job.delete()
    assert admin_client.post(url).status_code == 404


@pytest.mark.parametrize("view", ["retry", "cancel"])
def test_buttons_need_post_and_a_token(admin_client, admin_user, view):
    job = job_that_is("FAILED" if view == "retry" else "READY")
    assert admin_client.get(page(job, view)).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin_user)
    assert strict.post(page(job, view)).status_code == 403
    assert act(strict, f"{view}_selected", [job]).status_code == 403
    assert statuses() == {job.pk: job.status}


@pytest.mark.parametrize("way", ["retry", "cancel", "delete", "delete page"])
def test_jobs_are_held_while_something_is_done_to_them(
    admin_client, only, way, django_assert_max_num_queries
):
    """Else a worker could claim one between the look at its status and the deed."""
    only("postgresql", "mysql")  # SQLite has one lock for all.
    job = job_that_is("FAILED")
    with django_assert_max_num_queries(30) as queries:
        if way == "delete page":
            admin_client.post(page(job, "delete"), {"post": "yes"})
        elif way == "delete":
            delete(admin_client, [job])
        else:
            act(admin_client, f"{way}_selected", [job])
    statements = [query["sql"] for query in queries]
    held = [i for i, sql in enumerate(statements) if "FOR UPDATE" in sql]
    done = [i for i, sql in enumerate(statements) if sql.startswith("DELETE")]
    assert held
    assert not done or held[0] < done[0]


# -- who may


def test_strangers_are_asked_to_log_in(client):
    job = job_that_is("FAILED")
    for url in (changelist(), page(job), page(job, "history")):
        assert client.get(url).url.startswith("/admin/login/")
    for url in (page(job, "retry"), page(job, "cancel"), page(job, "delete")):
        assert client.post(url).url.startswith("/admin/login/")
    assert act(client, "retry_selected", [job]).url.startswith("/admin/login/")
    assert statuses() == {job.pk: "FAILED"}


def test_staff_without_permissions_see_and_do_nothing(member):
    client, job = member(), job_that_is("FAILED")
    for url in (changelist(), page(job), page(job, "history")):
        assert client.get(url).status_code == 403
    for url in (page(job, "retry"), page(job, "cancel"), page(job, "delete")):
        assert client.post(url, {"post": "yes"}).status_code == 403
    assert act(client, "retry_selected", [job]).status_code == 403
    assert statuses() == {job.pk: "FAILED"}


def test_who_may_view_may_do_nothing_else(member, jobs):
    client, before = member("view_job"), list(Job.objects.values())
    response = client.get(changelist())
    assert len(listed(response)) == 6
    assert offered(response) == EXPORTS
    for job in jobs.values():
        html = client.get(page(job)).content.decode()
        assert not [v for v in ("retry", "cancel", "delete") if page(job, v) in html]
        for view in ("retry", "cancel", "delete"):
            assert client.post(page(job, view), {"post": "yes"}).status_code == 403
    for action in set().union(*ACTIONS.values()):
        act(client, action, jobs.values())
        answer(client, action, jobs.values(), priority="1", queue="x")
        across(client, action, post="yes", priority="1", queue="x")
    assert list(Job.objects.values()) == before
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("permission", ACTIONS)
def test_each_action_needs_its_permission(member, permission):
    actions = ACTIONS[permission]
    client, job = member("view_job", permission), job_that_is("FAILED")
    assert offered(client.get(changelist())) == actions | EXPORTS
    html = client.get(page(job)).content.decode()
    assert (page(job, "retry") in html) == ("retry_selected" in actions)
    assert (page(job, "delete") in html) == ("delete_selected" in actions)
    for view in ("retry", "cancel", "delete"):
        if f"{view}_selected" not in actions:
            assert client.post(page(job, view), {"post": "yes"}).status_code == 403
    for action in set().union(*ACTIONS.values()) - actions:
        act(client, action, [job])
        answer(client, action, [job])
    assert statuses() == {job.pk: "FAILED"}


def offered(response):
    """The actions that one can choose."""
    every = {*set().union(*ACTIONS.values()), *EXPORTS}
    html = response.content.decode()
    return {action for action in every if f'value="{action}"' in html}


def test_changing_needs_no_permission_to_view(member):
    """As everywhere in the admin."""
    client, job = member("change_job", "retry_job"), job_that_is("FAILED")
    assert client.get(page(job)).status_code == 200
    assert said(client.post(page(job, "retry"))) == ["1 job will be retried."]


def test_every_permission_together_still_edits_nothing(member):
    client, job = member(*ALL), make_job()
    assert client.get(changelist() + "add/").status_code == 403
    assert client.post(page(job), {"task": "x", "_save": "1"}).status_code == 403


# -- exports


def exported(response):
    return b"".join(response.streaming_content).decode()


def test_jobs_are_exported_as_json(admin_client):
    job = job_that_is("FAILED", args=[1], kwargs={"b": "x"}, tags=["a", "b"])
    failed_attempt(job, error="ValueError: no")
    other = job_that_is("SUCCESSFUL", result={"sum": 3})
    response = act(admin_client, "export_json", [job, other])
    assert response["Content-Type"] == "application/json"
    assert 'filename="jobs.json"' in response["Content-Disposition"]
    second, first = json.loads(exported(response))
    assert first["id"] == str(job.pk)
    assert (first["args"], first["kwargs"]) == ([1], {"b": "x"})
    assert (first["tags"], first["last_error"]) == (["a", "b"], "ValueError: no")
    assert second["result"] == {"sum": 3}
    assert log_entries() == {(None, "Change", "Exported as JSON: 2 selected.")}


def test_no_jobs_are_a_list_too(admin_client):
    job = make_job()
    response = act(admin_client, "export_json", [job])
    job.delete()
    assert json.loads(exported(response)) == []


def test_jobs_are_exported_as_csv(admin_client):
    job = make_job(args=[1], queue="=HYPERLINK(1)", priority=-5, verbose_name="-2+3")
    response = act(admin_client, "export_csv", [job])
    (row,) = csv.DictReader(io.StringIO(exported(response), newline=""))
    assert row["id"] == str(job.pk)
    assert row["args"] == "[1]"
    assert row["priority"] == "-5"
    # No formula, wherever it is opened.
    assert (row["queue"], row["verbose_name"]) == ("'=HYPERLINK(1)", "'-2+3")


def test_all_that_match_are_exported(admin_client, monkeypatch):
    monkeypatch.setattr(job_export, "BATCH", 4)
    jobs = make_jobs(10, queue="mail")
    make_job()
    response = across(admin_client, "export_json", "?queue=mail", index="0")
    found = [row["id"] for row in json.loads(exported(response))]
    assert found == [str(job.pk) for job in jobs[::-1]]
    assert log_entries() == {(None, "Change", "Exported as JSON: queue: mail.")}


@pytest.mark.parametrize("form", ["json", "csv"])
def test_arguments_are_exported_to_those_who_may_see_them(member, form):
    job = job_that_is("FAILED", args=["seen"], metadata={"note": "seen"})
    failed_attempt(job, error="KeyError: 'seen'")
    text = exported(act(member("view_job"), f"export_{form}", [job]))
    assert str(job.pk) in text
    assert "builtins.ValueError" in text
    # Not even as an error quotes it.
    assert "seen" not in text
    assert "args" not in text
    client = member("view_job", "view_job_arguments")
    assert "seen" in exported(act(client, f"export_{form}", [job]))


@pytest.mark.parametrize("form", ["json", "csv"])
def test_sensitive_arguments_are_never_exported(admin_client, form):
    job = job_that_is(
        "SUCCESSFUL",
        task="tests.sample.tasks.pay",
        args=["ada", "secret"],
        kwargs={"card": 47114711},
        result={"paid with": ["secret"], "card": 47114711},
        metadata={"note": "by secret"},
        progress={"message": "secret"},
    )
    # From before the parameter was declared to be sensitive.
    failed_attempt(job, error="no secret", exception_class_path="a.b")
    text = exported(act(admin_client, f"export_{form}", [job]))
    assert "ada" in text
    assert "secret" not in text
    assert "4711" not in text
