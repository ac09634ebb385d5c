import io
import uuid

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

from django_bgtasks.models import Job
from django_bgtasks.redaction import MASK
from tests.admin.pages import failed_attempt, utc
from tests.factories import make_finished, make_job, make_running
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db


def failed(task, *args, **columns):
    return make_finished(
        "FAILED",
        timezone.now(),
        task=f"tests.sample.tasks.{task}",
        args=args,
        **columns,
    )


def run(job, *options):
    call_command("run_task", str(job.pk), "--inline", *options)


@pytest.fixture
def kept():
    """Notes a job whose row has to be the same in the end."""
    rows = []

    def note(job):
        rows.append(Job.objects.filter(pk=job.pk).values().get())
        return job

    yield note
    assert [Job.objects.filter(pk=row["id"]).values().get() for row in rows] == rows


class Keyboard(io.StringIO):
    def isatty(self):
        return True


def test_the_result_is_printed(kept, capsys):
    run(kept(failed("add", 1, kwargs={"b": 2})))
    assert capsys.readouterr().out == "3\n"
    assert sample.calls == [(1, 2)]


def test_an_async_task(kept, capsys):
    run(kept(failed("aadd", 1)))
    assert capsys.readouterr().out == "1\n"


def test_the_traceback_is_printed(kept, capsys):
    with pytest.raises(CommandError, match="^ValueError: oops$"):
        run(kept(failed("fail", "oops")))
    captured = capsys.readouterr()
    assert captured.err.startswith("Traceback (most recent call last):")
    assert "raise ValueError(message)\nValueError: oops\n" in captured.err
    assert captured.out == ""


def test_what_cannot_be_stored_fails(kept):
    with pytest.raises(CommandError, match="NotJSON: the return value"):
        run(kept(failed("return_no_json")))


def test_an_exit_does_not_end_the_command(kept):
    with pytest.raises(CommandError, match="SystemExit: 3"):
        run(kept(failed("exit_the_process")))


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("snooze_for_a_minute", "Snooze: The task snoozed for 0:01:00."),
        ("cancel_itself", "Cancel: nothing to do"),
    ],
)
def test_what_a_task_asks_for_is_told(kept, capsys, task, words):
    run(kept(failed(task)))
    assert capsys.readouterr().out == f"{words}\n"


def test_the_context_is_that_of_the_last_attempt(kept, capsys):
    job = failed("succeed_at", 2, attempt=2)
    failed_attempt(job, 1)
    failed_attempt(job, 2)
    run(kept(job))
    assert capsys.readouterr().out == '"done"\n'
    assert sample.calls == [2]


def test_a_job_that_never_ran_is_in_its_first_attempt(kept, capsys):
    run(kept(make_job(task="tests.sample.tasks.succeed_at", args=[1])), "--no-input")
    assert capsys.readouterr().out == '"done"\n'


def test_progress_goes_nowhere_and_the_tick_is_known(kept):
    run(kept(failed("report", 2, scheduled_for=utc(2026, 1, 1))))
    assert len(sample.calls) == 1


def test_an_atomic_task_is_undone_when_it_fails(kept):
    with pytest.raises(CommandError):
        run(kept(failed("write_a_user_once", "ada", "fail")))
    assert not User.objects.exists()
    run(kept(failed("write_a_user_once", "ada")))
    assert User.objects.get().username == "ada"


# -- what must not be seen


def test_sensitive_arguments_are_not_printed(kept, capsys):
    with pytest.raises(CommandError) as caught:
        run(kept(failed("pay", "ada", "opensesame", kwargs={"how": "message"})))
    run(kept(failed("pay_step_by_step", "opensesame")))
    captured = capsys.readouterr()
    assert MASK in captured.out
    assert MASK in captured.err
    assert "opensesame" not in captured.out + captured.err + str(caught.value)


# -- what would happen twice


@pytest.mark.parametrize("status", ["SCHEDULED", "READY", "RUNNING", "SUCCESSFUL"])
def test_it_asks_before_a_job_runs_twice(kept, monkeypatch, capsys, status):
    if status == "RUNNING":
        job = make_running(args=[1])
    else:
        job = make_job(status=status, args=[1], run_after=timezone.now())
    kept(job)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    with pytest.raises(CommandError, match="Nothing was done"):
        run(job)
    assert not sample.calls
    assert "Go on? [y/N]" in capsys.readouterr().out
    run(job, "--no-input")
    assert sample.calls == [(1, 0)]


# -- what is refused


def test_there_is_no_other_way_yet():
    job = failed("add", 1)
    with pytest.raises(CommandError, match="use --inline"):
        call_command("run_task", str(job.pk))
    assert not sample.calls


@pytest.mark.parametrize("job", [uuid.UUID(int=7), "x"])
def test_no_such_job(job):
    with pytest.raises(CommandError, match="no id of a job|There is no job"):
        call_command("run_task", str(job), "--inline")


def test_a_task_that_is_gone(kept):
    with pytest.raises(CommandError, match="No task is registered as 'tests.sample"):
        run(kept(failed("gone")))


# -- the debugger


def test_the_debugger_stands_where_it_was_raised(kept, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", Keyboard("p message\nq\n"))
    with pytest.raises(CommandError, match="oops"):
        run(kept(failed("fail", "oops")), "--pdb")
    assert "'oops'" in capsys.readouterr().out


def test_the_debugger_needs_a_terminal(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(CommandError, match="needs a terminal"):
        run(failed("fail"), "--pdb")
    assert not sample.calls
