"""cancel_tasks and retry_tasks."""

import io
import signal
from collections import Counter
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import OutputWrapper
from django.utils import timezone

from django_bgtasks.management.progress import LINE_INTERVAL, Progress, interruptible
from django_bgtasks.models import Job
from django_bgtasks.store import lifecycle, maintenance, sweeps
from tests.factories import make_finished, make_job, make_jobs, make_running

pytestmark = pytest.mark.django_db

JOBS = Job.objects.all()
NOW = timezone.now()


def ago(**span):
    return NOW - timedelta(**span)


def statuses():
    return Counter(JOBS.values_list("status", flat=True))


@pytest.fixture
def answer(monkeypatch):
    """What somebody types when asked."""
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


class Terminal(io.StringIO):
    def isatty(self):
        return True


# -- cancel


def test_cancel(capsys):
    make_job()
    make_running()
    make_finished("FAILED", NOW)
    call_command("cancel_tasks", "--all", "--no-input")
    assert capsys.readouterr().out == (
        "Jobs cancelled: 1. Running ones that were asked to stop: 1.\n"
    )
    assert statuses() == {"CANCELLED": 1, "RUNNING": 1, "FAILED": 1}
    by = JOBS.get(status="CANCELLED").cancel_requested_by
    assert "manage.py cancel_tasks" in by


def test_where_the_user_has_no_name(monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: {}["nobody"])
    make_job()
    call_command("cancel_tasks", "--all", "--no-input")
    assert JOBS.get().cancel_requested_by == "manage.py cancel_tasks"


@pytest.mark.parametrize(
    "options",
    [
        ["--queue=mail"],
        ["--queue=mail", "--queue=slow"],
        ["--task=shop.pay"],
        ["--schedule=nightly"],
        ["--tag=late", "--tag=big"],
        ["--creator=auth.user:5"],
        ["--status=ready"],
        ["--older-than=2h"],
        ["--newer-than=3h", "--older-than=90m"],
        ["--queue=mail", "--task=shop.pay", "--older-than=1h"],
    ],
    ids=" ".join,
)
def test_jobs_have_to_fit_all_that_is_said(options, capsys):
    fitting = make_job(
        queue="mail",
        task="shop.pay",
        schedule="nightly",
        tags=["big", "red"],
        creator="auth.user:5",
        enqueued_at=ago(hours=2, minutes=1),
    )
    other = make_job(
        status="SCHEDULED", run_after=NOW, enqueued_at=ago(minutes=5), schedule="daily"
    )
    call_command("cancel_tasks", *options, "--no-input")
    fitting.refresh_from_db()
    other.refresh_from_db()
    assert (fitting.status, other.status) == ("CANCELLED", "SCHEDULED")


def test_by_id():
    jobs = make_jobs(3)
    ids = [f"--id={job.pk}" for job in jobs[:2]]
    call_command("cancel_tasks", *ids, "--no-input")
    assert statuses() == {"CANCELLED": 2, "READY": 1}


def test_everything_has_to_be_said():
    make_job()
    with pytest.raises(CommandError, match="with --all"):
        call_command("cancel_tasks", "--no-input")
    assert statuses() == {"READY": 1}


@pytest.mark.parametrize(
    "option", ["--status=FAILED", "--id=x", "--older-than=1w", "--newer-than=0h"]
)
def test_nonsense_is_refused(option):
    with pytest.raises(CommandError):
        call_command("cancel_tasks", option, "--no-input")


def test_a_dry_run(capsys):
    make_jobs(2)
    make_running(cancel_requested_at=NOW)
    call_command("cancel_tasks", "--all", "--dry-run")
    assert capsys.readouterr().out == "Jobs to be cancelled: 2.\n"
    assert statuses() == {"READY": 2, "RUNNING": 1}


# -- retry


def test_retry(capsys):
    make_finished("FAILED", ago(minutes=1))
    make_finished("CANCELLED", ago(minutes=1))
    make_finished("SUCCESSFUL", ago(minutes=1))
    call_command("retry_tasks", "--all", "--no-input")
    assert capsys.readouterr().out == "Jobs retried: 1.\n"
    # Somebody did not want those that are cancelled.
    assert statuses() == {"READY": 1, "CANCELLED": 1, "SUCCESSFUL": 1}
    call_command("retry_tasks", "--status=CANCELLED", "--no-input")
    assert statuses() == {"READY": 2, "SUCCESSFUL": 1}


def test_the_age_of_failures_counts_from_their_end():
    old = make_finished("FAILED", ago(hours=3), enqueued_at=ago(hours=4))
    young = make_finished("FAILED", ago(hours=1), enqueued_at=ago(hours=4))
    call_command("retry_tasks", "--newer-than=2h", "--no-input")
    old.refresh_from_db()
    young.refresh_from_db()
    assert (old.status, young.status) == ("FAILED", "READY")


# -- asking


@pytest.mark.parametrize("text", ["y\n", "Yes\n"])
def test_it_asks(answer, capsys, text):
    make_jobs(2)
    answer(text)
    call_command("cancel_tasks", "--all")
    assert "Jobs to be cancelled: 2. Go on? [y/N] " in capsys.readouterr().out
    assert statuses() == {"CANCELLED": 2}


@pytest.mark.parametrize("text", ["\n", "n\n", "yep\n"])
def test_no_means_no(answer, text):
    make_job()
    answer(text)
    with pytest.raises(CommandError, match="Nothing was done"):
        call_command("cancel_tasks", "--all")
    assert statuses() == {"READY": 1}


def test_nobody_is_there_to_ask(answer):
    make_job()
    answer("")
    with pytest.raises(CommandError, match="--no-input"):
        call_command("cancel_tasks", "--all")
    assert statuses() == {"READY": 1}


def test_about_nothing_it_does_not_ask(answer, capsys):
    answer("")
    call_command("cancel_tasks", "--all")
    assert capsys.readouterr().out == "Jobs to be cancelled: 0.\n"


def test_a_big_number_is_not_counted_to_the_end(answer, monkeypatch, capsys):
    monkeypatch.setattr("django_bgtasks.management.steering.COUNT_LIMIT", 2)
    make_jobs(3)
    answer("y\n")
    call_command("cancel_tasks", "--all")
    assert "Jobs to be cancelled: more than 2. Go on?" in capsys.readouterr().out
    assert statuses() == {"CANCELLED": 3}


# -- on the way


@pytest.mark.once
def test_ctrl_c_ends_it_between_two_batches(monkeypatch):
    cancel = lifecycle.cancel

    def cancel_and_interrupt(jobs, by):
        signal.raise_signal(signal.SIGINT)
        # The batch that is under way is finished.
        return cancel(jobs, by=by)

    monkeypatch.setattr(lifecycle, "cancel", cancel_and_interrupt)
    monkeypatch.setattr(sweeps.cancel, "__kwdefaults__", {"limit": 2})
    make_jobs(5)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(CommandError, match="Interrupted. Jobs cancelled: 2.") as caught:
        call_command("cancel_tasks", "--all", "--no-input")
    assert caught.value.returncode == 130
    assert statuses() == {"CANCELLED": 2, "READY": 3}
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.once
def test_ctrl_c_ends_pruning(monkeypatch):
    prune = maintenance.prune

    def prune_one(now, retention):
        signal.raise_signal(signal.SIGINT)
        return prune(now, retention, limit=1)

    monkeypatch.setattr(maintenance, "prune", prune_one)
    make_jobs(3, status="FAILED", finished_at=ago(days=99))
    with pytest.raises(CommandError, match="Interrupted. 1 jobs deleted."):
        call_command("prune_tasks")
    assert statuses() == {"FAILED": 2}


@pytest.mark.once
def test_a_second_ctrl_c_ends_it_at_once():
    # A shell lets what it runs in the background ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interrupt_twice()
    finally:
        signal.signal(signal.SIGINT, before)


def interrupt_twice():
    with interruptible() as is_interrupted:
        signal.raise_signal(signal.SIGINT)
        assert is_interrupted()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.once
def test_progress_on_a_terminal_is_one_line_that_goes_away():
    terminal = Terminal()
    with Progress(OutputWrapper(terminal)) as progress:
        progress.show("1000 jobs")
        progress.show("2 jobs")
    assert terminal.getvalue() == f"\r1000 jobs\r2 jobs   \r{' ' * 6}\r"


@pytest.mark.once
def test_progress_elsewhere_is_a_line_now_and_then(time):
    file = io.StringIO()
    with Progress(OutputWrapper(file), monotonic=time) as progress:
        progress.show("soon")
        time.advance(LINE_INTERVAL)
        progress.show("then")
        progress.show("soon after")
    assert file.getvalue() == "then\n"


@pytest.mark.once
def test_no_progress_is_said_where_nothing_is_wanted():
    terminal = Terminal()
    with Progress(OutputWrapper(terminal), verbosity=0) as progress:
        progress.show("1")
    assert terminal.getvalue() == ""


def test_progress_of_the_commands(capsys):
    make_jobs(2)
    terminal = Terminal()
    call_command("cancel_tasks", "--all", "--no-input", stderr=terminal)
    assert "\rJobs cancelled: 2." in terminal.getvalue()
    make_jobs(2, status="FAILED", finished_at=ago(days=99))
    terminal = Terminal()
    call_command("prune_tasks", stderr=terminal)
    assert "\r2 jobs deleted so far." in terminal.getvalue()
