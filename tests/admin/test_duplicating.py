"""A job like another one, with changes: what is copied, refused, and written down."""

import json

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from django_bgtasks.admin import duplicating
from django_bgtasks.models import Job
from django_bgtasks.redaction import MASK
from tests.admin.pages import (
    MARKUP,
    job_that_is,
    local,
    log_entries,
    page,
    said,
    text_of,
)
from tests.factories import make_job
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db

#: What lets somebody duplicate; without any one of them, nobody may.
NEEDED = ("view_job", "add_job", "view_job_arguments")


def fields_of(client, row):
    """What the form says, as a browser would send it."""
    form = client.get(page(row, "duplicate")).context["adminform"].form
    sent = {name: form[name].value() for name in form.fields}
    moment = sent.pop("run_after")
    sent["run_after_0"] = moment and f"{local(moment):%Y-%m-%d}"
    sent["run_after_1"] = moment and f"{local(moment):%H:%M:%S}"
    return {name: value or "" if value != 0 else 0 for name, value in sent.items()}


def duplicate(client, row, **changes):
    data = {**fields_of(client, row), **changes}
    return client.post(page(row, "duplicate"), data)


def errors(response):
    form = response.context["adminform"].form
    return {name: list(texts) for name, texts in form.errors.items()}


def newest(row):
    return Job.objects.exclude(pk=row.pk).get()


def test_all_is_as_it_was(admin_client, admin_user):
    row = job_that_is(
        "FAILED",
        args=[{"name": "Zoë"}],
        queue="mail",
        priority=-7,
        verbose_name="Order 7",
        tags=["a", "b c"],
        creator=f"auth.user:{admin_user.pk}",
        task="tests.sample.tasks.echo",
    )
    response = duplicate(admin_client, row)
    made = newest(row)
    assert response.url == page(made)
    assert said(response) == ["The job was enqueued. This is its page."]
    for name in ("task", "args", "kwargs", "queue", "priority", "verbose_name"):
        assert getattr(made, name) == getattr(row, name), name
    assert (made.tags, made.creator) == (("a", "b c"), row.creator)
    assert (made.status, made.attempt, made.run_after) == ("READY", 0, None)
    row.refresh_from_db()
    assert row.status == "FAILED"


def test_what_is_changed(admin_client):
    row = make_job(args=[1, 2])
    duplicate(
        admin_client,
        row,
        args="[3]",
        kwargs='{"b": 4}',
        queue_name="slow",
        priority="9",
        run_after_0="2089-01-02",
        run_after_1="03:04:05",
        verbose_name="Again",
        tags=" x, ,y ",
    )
    made = newest(row)
    assert (made.args, made.kwargs) == ([3], {"b": 4})
    assert (made.queue, made.priority) == ("slow", 9)
    assert made.status == "SCHEDULED"
    assert f"{local(made.run_after)}".startswith("2089-01-02 03:04:05")
    assert (made.verbose_name, made.tags) == ("Again", ("x", "y"))


def test_a_time_that_is_to_come_is_kept(admin_client):
    row = job_that_is("SCHEDULED", args=[1, 2])
    duplicate(admin_client, row)
    assert newest(row).run_after == row.run_after.replace(microsecond=0)
    # That of a back-off is no wish of anybody's.
    waits = job_that_is("SCHEDULED", args=[1, 2], started_at=timezone.now())
    assert fields_of(admin_client, waits)["run_after_0"] == ""


def test_values_that_json_has_not(admin_client, settings):
    settings.BGTASKS = {"ENCODER": "django_bgtasks.encoding.RichEncoder"}
    rich = {"__bgtasks__": "decimal", "value": "12.50"}
    row = make_job(task="tests.sample.tasks.echo", args=[rich])
    duplicate(admin_client, row)
    assert newest(row).args == [rich]
    response = duplicate(admin_client, row, args='[{"__bgtasks__": "nonsense"}]')
    assert "which the encoder does not know" in errors(response)["args"][0]


@pytest.mark.parametrize(
    ("changes", "field", "text"),
    [
        ({"args": "[1, 2"}, "args", "This is no JSON: Expecting ',' delimiter"),
        ({"args": '{"a": 1}'}, "args", "It must be a list in JSON."),
        ({"kwargs": "[]"}, "kwargs", "It must be an object in JSON."),
        ({"args": "[]"}, "args", "missing a required argument: 'a'"),
        ({"kwargs": '{"c": 1}'}, "args", "tests.sample.tasks.add() cannot be called"),
        ({"args": "[1, NaN]"}, "args", "args[1] is nan"),
        ({"args": '["\\u0000", 1]'}, "args", "args[0]"),
        ({"args": "[" * 100_000}, "args", "This is"),
        ({"args": f"[{'9' * 5000}]"}, "args", "This is too much."),
        ({"args": ""}, "args", "This field is required."),
        ({"queue_name": ""}, "queue_name", "This field is required."),
        ({"queue_name": "x" * 101}, "queue_name", "at most 100 characters"),
        ({"priority": "101"}, "priority", "less than or equal to 100"),
        ({"tags": "a|b"}, "tags", "without a bar"),
        ({"run_after_0": "soon"}, "run_after", "Enter a valid date."),
        (
            {"run_after_0": "0001-01-01", "run_after_1": "00:00"},
            "run_after",
            "Enter a valid date/time.",
        ),
    ],
)
def test_what_cannot_be_is_said_at_its_field(admin_client, changes, field, text):
    row = make_job(args=[1, 2])
    response = duplicate(admin_client, row, **changes)
    assert response.status_code == 200
    assert list(errors(response)) == [field]
    assert text in errors(response)[field][0]
    assert Job.objects.count() == 1
    assert not LogEntry.objects.exists()


def test_it_is_written_down_on_both(admin_client):
    row = make_job(args=[1, 2])
    duplicate(admin_client, row)
    made = newest(row)
    assert log_entries() == {
        (str(row.pk), "Change", f"Duplicated as {made.pk}."),
        (str(made.pk), "Change", f"Enqueued as a duplicate of {row.pk}."),
    }


def test_one_that_is_there_already(admin_client, monkeypatch):
    once = sample.add.using(unique=True)
    monkeypatch.setattr(duplicating, "find_task", lambda path: once)
    row = make_job(args=[1, 2])
    first = duplicate(admin_client, row)
    response = duplicate(admin_client, row)
    assert response.url == first.url == page(newest(row))
    assert said(response)[-1] == "The same job was there already: this one."
    monkeypatch.setattr(
        duplicating, "find_task", lambda path: once.using(on_conflict="raise")
    )
    response = duplicate(admin_client, row)
    (problem,) = errors(response)["__all__"]
    assert problem == f"{row.task} is enqueued already, as job {newest(row).pk}."
    assert len(log_entries()) == 2


@pytest.mark.parametrize("lacking", NEEDED)
def test_who_may(member, lacking):
    row = make_job(args=[1, 2])
    data = fields_of(member(*NEEDED), row)
    client = member(*(name for name in NEEDED if name != lacking))
    assert client.get(page(row, "duplicate")).status_code == 403
    assert client.post(page(row, "duplicate"), data).status_code == 403
    assert page(row, "duplicate") not in client.get(page(row)).text
    assert Job.objects.count() == 1


def test_whoever_may_sees_a_button(member):
    row = make_job(args=[1, 2])
    client = member(*NEEDED)
    assert page(row, "duplicate") in client.get(page(row)).text
    assert duplicate(client, row).status_code == 302


def test_a_form_of_another_site_does_nothing(admin_client, admin_user):
    row = make_job(args=[1, 2])
    data = fields_of(admin_client, row)
    admin_client.handler.enforce_csrf_checks = True
    assert admin_client.post(page(row, "duplicate"), data).status_code == 403


def test_of_a_task_that_is_gone(admin_client):
    row = make_job(task="gone")
    response = admin_client.get(page(row))
    assert page(row, "duplicate") not in response.text
    assert "This job cannot be duplicated, for there is no task" in text_of(response)
    response = admin_client.get(page(row, "duplicate"))
    assert response.url == page(row)
    assert said(response) == ["There is no task gone here."]


def test_of_a_backend_that_is_gone(admin_client):
    row = make_job(args=[1, 2], backend="gone")
    assert admin_client.get(page(row, "duplicate")).url == page(row)


def test_of_a_job_that_is_gone(admin_client):
    row = make_job()
    url = page(row, "duplicate")
    row.delete()
    assert admin_client.get(url).status_code == 404


def test_what_a_job_says_is_text(admin_client):
    row = make_job(
        task="tests.sample.tasks.echo",
        args=[MARKUP],
        queue=MARKUP,
        verbose_name=MARKUP,
        tags=[MARKUP],
    )
    assert "<script>alert" not in admin_client.get(page(row, "duplicate")).text


# -- what is not to be seen


def test_sensitive_arguments_are_typed_anew(admin_client):
    row = make_job(
        task="tests.sample.tasks.pay",
        args=["ada", "hunter2"],
        kwargs={"how": "message"},
    )
    response = admin_client.get(page(row, "duplicate"))
    assert "hunter2" not in response.text
    assert json.loads(fields_of(admin_client, row)["args"]) == ["ada", MASK]
    # So that nobody sends a secret to wherever another argument says.
    response = duplicate(admin_client, row, args=json.dumps(["eve", MASK]))
    assert errors(response)["args"] == [
        "Sensitive arguments are not copied: type a value in place of each "
        "********************."
    ]
    assert "hunter2" not in response.text
    card = json.dumps({"how": "message", "card": MASK})
    response = duplicate(admin_client, row, args='["ada"]', kwargs=card)
    assert list(errors(response)) == ["kwargs"]
    assert Job.objects.count() == 1
    duplicate(admin_client, row, args='["ada", "12345"]')
    assert newest(row).args == ["ada", "12345"]
    assert "12345" not in admin_client.get(page(newest(row))).text
    for entry in LogEntry.objects.all():
        assert "12345" not in entry.change_message


def test_no_page_breaks_off_over_text_that_none_can_hold(admin_client, only):
    only("sqlite")  # The others do not store it.
    row = make_job(task="tests.sample.tasks.echo", args=["\ud800"])
    assert '["\\ud800"]' in "".join(fields_of(admin_client, row)["args"].split())


def test_what_does_something_to_many_jobs_is_not_duplicated(admin_client):
    """It would do to jobs what its user may not do, in somebody else's name."""
    row = make_job(task="django_bgtasks.sweep", args=["delete", {}, {}])
    assert page(row, "duplicate") not in admin_client.get(page(row)).content.decode()
    for ask in (admin_client.get, admin_client.post):
        assert ask(page(row, "duplicate")).status_code == 403
    assert list(Job.objects.all()) == [row]
