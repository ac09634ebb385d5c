import io
import json
import os
import subprocess
import sys
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.test import override_settings
from django.utils import timezone

from django_bgtasks.management.commands import task_status
from django_bgtasks.models import Schedule
from django_bgtasks.store import overview as store
from django_bgtasks.store import queues
from django_bgtasks.wording import moment
from tests.factories import (
    living_worker,
    make_finished,
    make_job,
    make_jobs,
    make_running,
)

pytestmark = pytest.mark.django_db

NOW = timezone.now().replace(microsecond=0)
MINUTE = timedelta(minutes=1)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _clock(monkeypatch):
    """The database's clock stands still."""
    engine = type(store.get_engine())
    monkeypatch.setattr(engine, "now", lambda self: NOW)


@pytest.fixture
def broken(monkeypatch):
    """The database does not answer, until this is called."""

    def look(*args, **kwargs):
        raise OperationalError("no route to host")

    whole = task_status.overview
    monkeypatch.setattr(task_status, "overview", look)
    return lambda: monkeypatch.setattr(task_status, "overview", whole)


def shown(capsys):
    return capsys.readouterr().out.splitlines()


def checked(*options):
    """The exit code of a health check."""
    try:
        call_command("task_status", "--check", *options)
    except SystemExit as end:
        return end.code
    return 0


def schedule(name, **columns):
    return Schedule.objects.create(name=name, task="t", every=MINUTE, **columns)


def test_a_table(capsys, monkeypatch):
    monkeypatch.setattr(store.overview, "__defaults__", (None, 2, None))
    worker = living_worker(heartbeat_at=NOW - timedelta(seconds=2))
    living_worker(
        hostname="old", queues=["mail", "slow"], heartbeat_at=NOW - 3 * MINUTE
    )
    make_jobs(3, queue="mail", enqueued_at=NOW - 2 * MINUTE)
    make_job(queue="slow", status="SCHEDULED", run_after=NOW + MINUTE)
    make_running(worker.pk, queue="slow")
    make_finished("FAILED", NOW, queue="slow")
    queues.pause("mail", NOW)
    call_command("task_status")
    assert shown(capsys) == [
        moment(NOW),
        "",
        "queue  state   waiting  oldest  scheduled  running  failed (1 h)",
        "mail   paused       2+   2 min          0        0             0",
        "slow                 0       -          1        1             1",
        "",
        "worker  state  queues      jobs  threads  heartbeat",
        "box:7   live   all            1        4  2.0 s ago",
        "old:7   lost   mail, slow     0        4  3 min ago",
    ]


def test_nothing(capsys):
    call_command("task_status")
    assert shown(capsys)[2:] == [
        "No queue has jobs that wait or run.",
        "",
        "No worker is alive.",
    ]


def test_schedules_begin_with_those_in_trouble(capsys):
    schedule("b", next_due=NOW + MINUTE)
    schedule("a", next_due=NOW + 2 * MINUTE)
    schedule("over", next_due=None)
    schedule("stopped", next_due=None, paused_at=NOW)
    schedule("late", next_due=NOW - 6 * MINUTE)
    schedule("broken", next_due=NOW, problem="No such task.")
    call_command("task_status")
    lines = shown(capsys)[5:]
    assert lines[1].split() == ["schedule", "state", "next", "run"]
    assert [line.split()[0] for line in lines[2:8]] == [
        "broken", "late", "stopped", "b", "a", "over",
    ]  # fmt: skip
    assert lines[3].endswith(f"late     {moment(NOW - 6 * MINUTE)} (6 min ago)")
    assert lines[5].endswith(f"{moment(NOW + MINUTE)} (in 1 min)")
    assert lines[8] == "broken: No such task."


def test_many_schedules_are_not_all_listed(capsys, monkeypatch):
    monkeypatch.setattr(task_status, "SCHEDULE_LIMIT", 2)
    for n in range(5):
        schedule(f"s{n}", next_due=NOW)
    call_command("task_status")
    assert shown(capsys)[-1] == "... and 3 more"


def test_json(capsys):
    worker = living_worker(heartbeat_at=NOW)
    make_job(queue="mail", enqueued_at=NOW)
    schedule("nightly", next_due=NOW)
    call_command("task_status", "--json")
    seen = json.loads(capsys.readouterr().out)
    (queue,), (first,), (periodic,) = (
        seen[name] for name in ("queues", "workers", "schedules")
    )
    assert (queue["name"], queue["waiting"], queue["capped"]) == ("mail", 1, [])
    assert (first["id"], first["is_live"]) == (str(worker.pk), True)
    assert periodic["name"] == "nightly"


# -- check


def test_all_is_well(capsys):
    living_worker(heartbeat_at=NOW)
    make_job()
    assert checked("--max-waiting=1", "--min-workers=1", "--max-age=60") == 0
    assert shown(capsys) == ["All is well."]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--max-waiting=0", "More than 0 jobs wait"),
        ("--max-failed=0", "failed within an hour"),
        ("--max-age=119.5", "has waited for 2 min"),
        ("--min-workers=2", "there should be at least 2"),
    ],
)
def test_something_is_wrong(capsys, option, words):
    living_worker(heartbeat_at=NOW)
    make_job(enqueued_at=NOW - 2 * MINUTE)
    make_finished("FAILED", NOW)
    assert checked() == 0
    capsys.readouterr()
    assert checked(option) == 1
    assert words in capsys.readouterr().out


def test_what_is_wrong_without_being_asked_for(capsys):
    make_job(queue="mail")
    assert checked() == 1
    assert shown(capsys) == ["Jobs wait on queue mail, and no live worker works on it."]


@override_settings(BGTASKS={"HEARTBEAT_TIMEOUT": 10})
def test_a_worker_that_is_silent_does_not_count():
    living_worker(heartbeat_at=NOW - timedelta(seconds=9))
    assert checked("--min-workers=1") == 0
    assert checked("--min-workers=2") == 1


def test_check_as_json(capsys):
    make_job(queue="mail")
    assert checked("--json") == 1
    seen = json.loads(capsys.readouterr().out)
    assert len(seen["problems"]) == 1
    assert seen["queues"][0]["name"] == "mail"


def test_the_database_cannot_be_asked(broken, capsys):
    assert checked() == 2
    assert shown(capsys) == ["The database cannot be asked: no route to host"]


@pytest.mark.once
@pytest.mark.slow
def test_no_probe_depends_on_the_database_to_say_so(tmp_path):
    """Django's own checks would ask it, and end with a traceback."""
    command = [sys.executable, "-m", "django", "task_status", "--check"]
    away = {"BGTASKS_TEST_DB": "sqlite", "BGTASKS_DB_NAME": str(tmp_path / "no" / "db")}
    ended = subprocess.run(
        command, env={**os.environ, **away}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout.startswith("The database cannot be asked: unable to open")
    assert ended.stderr == ""


# -- watch


def watch(*rounds, stdout, seconds="--watch"):
    """Watch, and do ``rounds`` while the command waits; then comes Ctrl-C."""
    left = iter(rounds)
    waits = []

    def wait(pause):
        waits.append(pause)
        step = next(left, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    command = task_status.Command()
    command.wait = wait
    call_command(command, seconds, stdout=stdout)
    return waits


def test_watching_looks_again_and_again():
    terminal = Terminal()
    waits = watch(lambda: make_job(queue="mail"), stdout=terminal)
    assert waits == [2.0, 2.0]
    _, first, second = terminal.getvalue().split(task_status.CLEAR)
    assert "mail" not in first
    assert "mail" in second


def test_the_time_between_two_looks():
    assert watch(stdout=io.StringIO(), seconds="--watch=0.5") == [0.5]


def test_no_terminal_is_cleared_that_is_none():
    file = io.StringIO()
    watch(stdout=file)
    assert task_status.CLEAR not in file.getvalue()


@pytest.mark.django_db(transaction=True)
def test_watching_outlasts_the_database(broken):
    terminal = Terminal()
    watch(broken, stdout=terminal)
    assert terminal.getvalue().startswith("The database cannot be asked: no route")
    assert "No worker is alive." in terminal.getvalue()


# -- nonsense


@pytest.mark.parametrize(
    "options",
    [
        ["--max-waiting=1"],
        ["--watch", "--check"],
        ["--watch", "--json"],
        ["--watch=0"],
        ["--watch=x"],
        ["--check", "--max-waiting=-1"],
        ["--check", "--max-waiting=1_0"],
        ["--check", "--max-age=-1"],
    ],
    ids=" ".join,
)
def test_nonsense_is_refused(options):
    with pytest.raises(CommandError):
        call_command("task_status", *options)


def test_it_takes_few_queries(django_assert_num_queries):
    make_jobs(40, queue_of=lambda n: f"q{n % 20}")
    with django_assert_num_queries(6):
        call_command("task_status", stdout=io.StringIO())
