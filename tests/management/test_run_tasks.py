import logging
from unittest.mock import Mock

import pytest
from django.core.management import CommandError, ManagementUtility, call_command
from django.test import override_settings

from django_bgtasks.management.commands import run_tasks
from django_bgtasks.models import Job
from django_bgtasks.worker.worker import WorkerOptions
from tests.sample import tasks as sample


@pytest.fixture
def started(monkeypatch):
    """The options a worker would be started with."""
    run_workers = Mock()
    monkeypatch.setattr(run_tasks, "run_workers", run_workers)

    def options():
        (given,), keywords = run_workers.call_args
        return given, keywords["reload"]

    options.processes = lambda: run_workers.call_args.kwargs["processes"]
    return options


@pytest.mark.once
@override_settings(BGTASKS={"THREADS": 7})
def test_options_default_to_the_settings(started):
    call_command("run_tasks")
    assert started() == (WorkerOptions(threads=7, schedules=True), False)


@pytest.mark.once
def test_options_are_handed_on(started):
    call_command("run_tasks", "--queues= a, b,,c", "--threads=2", "--drain")
    assert started() == (
        WorkerOptions(queues=("a", "b", "c"), threads=2, drain=True),
        False,
    )
    for queues in ("a,b", ["a", "b"]):
        call_command("run_tasks", queues=queues)
        assert started()[0].queues == ("a", "b")
    call_command("run_tasks", "--max-jobs=5", "--reload")
    assert started() == (WorkerOptions(threads=4, max_jobs=5, schedules=True), True)
    call_command("run_tasks", "--no-scheduler")
    assert not started()[0].schedules
    call_command("run_tasks", "--max-memory=300")
    assert started()[0].max_memory == 300 * 1024 * 1024


@pytest.mark.once
@pytest.mark.parametrize(
    ("arguments", "processes"),
    [
        ([], 1),
        (["--processes=0"], 0),
        (["--processes=3", "--reload"], 3),
        (["--reload"], 0),
    ],
)
@pytest.mark.django_db  # the system checks may ask what the database can do
def test_the_command_line_is_supervised(started, arguments, processes):
    ManagementUtility(["manage.py", "run_tasks", *arguments]).execute()
    assert started.processes() == processes


@pytest.mark.once
@override_settings(BGTASKS={"PROCESSES": 3})
def test_called_from_python_it_runs_here(started):
    call_command("run_tasks")
    assert started.processes() == 0
    call_command("run_tasks", processes=2)
    assert started.processes() == 2


@pytest.mark.once
@pytest.mark.parametrize(
    ("arguments", "reload"),
    [
        ([], True),
        (["--no-reload"], False),
        (["--drain"], False),
        (["--max-jobs=1"], False),
        (["--max-memory=100"], False),
    ],
)
@override_settings(DEBUG=True)
def test_with_debug_it_reloads_unless_it_ends_by_itself(started, arguments, reload):
    call_command("run_tasks", *arguments)
    assert started()[1] is reload


@pytest.mark.once
@pytest.mark.parametrize(
    "argument",
    [
        "--threads=0",
        "--threads=x",
        f"--threads={10**22}",
        "--max-jobs=-1",
        "--queues=,",
        "--processes=x",
    ],
)
def test_nonsense_is_refused(started, argument):
    with pytest.raises(CommandError):
        call_command("run_tasks", argument)


@pytest.mark.once
def test_the_log_is_shown_once(started, monkeypatch):
    logger = logging.getLogger("django_bgtasks")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "level", logging.NOTSET)
    call_command("run_tasks", verbosity=0)
    assert logger.handlers == []
    call_command("run_tasks")
    call_command("run_tasks", verbosity=2)
    assert len(logger.handlers) == 1
    assert logger.level == logging.INFO


@pytest.mark.django_db(transaction=True)
def test_it_runs_from_code_too():
    sample.add(1)
    call_command("run_tasks", drain=True, threads=1, verbosity=0)
    assert Job.objects.successful().count() == 1
