import pytest
from django.contrib.admin import helpers
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from django_bgtasks.admin import job_actions
from django_bgtasks.models import Attempt, Job
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
)
from tests.factories import make_job, make_jobs

pytestmark = pytest.mark.django_db

ALL = ("add_job", "change_job", "delete_job", "view_job")


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
    job = job_that_is("FAILED")
    failed_attempt(job, error=MARKUP)
    response = act(admin_client, "delete_selected", [job])
    assert "Are you sure" in text_of(response)
    assert "Attempts: 1" in text_of(response)
    assert "<script>alert" not in response.content.decode()
    assert Job.objects.exists()
    assert not LogEntry.objects.exists()


def test_delete_takes_all_but_running_jobs(admin_client, jobs):
    failed_attempt(jobs["FAILED"])
    failed_attempt(jobs["RUNNING"])
    response = act(admin_client, "delete_selected", jobs.values())
    assert "1 running job cannot be deleted. Cancel it first." in text_of(response)
    keys = {str(job.pk) for job in response.context["queryset"]}
    assert keys == {str(j.pk) for s, j in jobs.items() if s != "RUNNING"}

    response = delete(admin_client, jobs.values())
    assert said(response) == [
        "1 running job cannot be deleted. Cancel it first.",
        "Successfully deleted 5 jobs.",
    ]
    assert list(Job.objects.all()) == [jobs["RUNNING"]]
    assert [attempt.job for attempt in Attempt.objects.all()] == [jobs["RUNNING"]]
    assert log_entries() == {(key, "Deletion", "") for key in keys}


def test_running_jobs_alone_are_not_asked_about(admin_client):
    job = job_that_is("RUNNING")
    response = act(admin_client, "delete_selected", [job])
    assert response.status_code == 302
    assert said(response) == ["1 running job cannot be deleted. Cancel it first."]
    delete(admin_client, [job])
    assert Job.objects.exists()


def test_who_may_delete_jobs_may_delete_their_attempts(member):
    client = member("view_job", "delete_job")
    by_action, by_page = job_that_is("FAILED"), job_that_is("FAILED")
    failed_attempt(by_action)
    failed_attempt(by_page)
    assert said(delete(client, [by_action])) == ["Successfully deleted 1 job."]
    assert "Are you sure" in text_of(client.get(page(by_page, "delete")))
    assert client.post(page(by_page, "delete"), {"post": "yes"}).status_code == 302
    assert not Job.objects.exists()
    assert not Attempt.objects.exists()


def test_a_running_job_is_not_deleted_from_its_page(admin_client):
    job = job_that_is("RUNNING")
    response = admin_client.get(page(job))
    assert page(job, "delete") not in response.content.decode()
    assert "A running job cannot be deleted. Cancel it first." in text_of(response)
    for send in (admin_client.get, admin_client.post):
        response = send(page(job, "delete"), {"post": "yes"})
        assert response.url == page(job)
        assert said(response) == ["1 running job cannot be deleted. Cancel it first."]
    assert Job.objects.exists()
    assert not LogEntry.objects.exists()


# -- all that match


def test_all_that_match_can_be_selected(admin_client):
    make_jobs(60, status="FAILED", finished_at=timezone.now())
    spared = job_that_is("CANCELLED")
    response = admin_client.post(
        changelist() + "?status=FAILED",
        {
            "action": "retry_selected",
            "index": "0",
            "select_across": "1",
            "_selected_action": [Job.objects.failed()[0].pk],
        },
    )
    assert said(response) == ["60 jobs will be retried."]
    assert Job.objects.get(pk=spared.pk).status == "CANCELLED"


@pytest.mark.parametrize(
    ("action", "does"),
    [("retry_selected", "READY"), ("cancel_selected", "CANCELLED")],
)
def test_one_action_takes_so_many_and_no_more(admin_client, monkeypatch, action, does):
    monkeypatch.setattr(job_actions, "ACTION_LIMIT", 3)
    status = "FAILED" if action == "retry_selected" else "SCHEDULED"
    jobs = [job_that_is(status) for _ in range(5)]
    response = act(admin_client, action, jobs, select_across="1")
    assert said(response)[0] == (
        "One action takes 3 jobs, and more were selected: it took the newest. "
        "Repeat it for the others."
    )
    after = statuses()
    assert [after[job.pk] for job in jobs] == [status] * 2 + [does] * 3
    assert LogEntry.objects.count() == 3


def test_the_most_that_can_be_deleted_at_once_is_accepted(admin_client, settings):
    jobs = make_jobs(job_actions.ACTION_LIMIT + 1)
    response = act(admin_client, "delete_selected", jobs[:1], select_across="1")
    shown = list(response.context["queryset"])
    assert len(shown) == job_actions.ACTION_LIMIT
    assert delete(admin_client, shown).status_code == 302
    assert Job.objects.count() == 1


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
    assert helpers.ACTION_CHECKBOX_NAME not in response.content.decode()
    for job in jobs.values():
        html = client.get(page(job)).content.decode()
        assert not [v for v in ("retry", "cancel", "delete") if page(job, v) in html]
        for view in ("retry", "cancel", "delete"):
            assert client.post(page(job, view), {"post": "yes"}).status_code == 403
    for action in ("retry_selected", "cancel_selected", "delete_selected"):
        act(client, action, jobs.values())
    delete(client, jobs.values())
    assert list(Job.objects.values()) == before
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize(
    ("permission", "actions"),
    [
        ("change_job", {"retry_selected", "cancel_selected"}),
        ("delete_job", {"delete_selected"}),
    ],
)
def test_each_action_needs_its_permission(member, permission, actions):
    client, job = member("view_job", permission), job_that_is("FAILED")
    html = client.get(changelist()).content.decode()
    every = {"retry_selected", "cancel_selected", "delete_selected"}
    assert {a for a in every if f'value="{a}"' in html} == actions
    html = client.get(page(job)).content.decode()
    assert (page(job, "retry") in html) == ("retry_selected" in actions)
    assert (page(job, "delete") in html) == ("delete_selected" in actions)
    if "retry_selected" in actions:
        delete(client, [job])
        assert client.post(page(job, "delete"), {"post": "yes"}).status_code == 403
    else:
        act(client, "retry_selected", [job])
        assert client.post(page(job, "retry")).status_code == 403
    assert statuses() == {job.pk: "FAILED"}


def test_changing_needs_no_permission_to_view(member):
    """As everywhere in the admin."""
    client, job = member("change_job"), job_that_is("FAILED")
    assert client.get(page(job)).status_code == 200
    assert said(client.post(page(job, "retry"))) == ["1 job will be retried."]


def test_every_permission_together_still_edits_nothing(member):
    client, job = member(*ALL), make_job()
    assert client.get(changelist() + "add/").status_code == 403
    assert client.post(page(job), {"task": "x", "_save": "1"}).status_code == 403
