"""Whatever a task raises, returns or changes, its thread goes on as before."""

import logging
import subprocess
import sys

import pytest

from django_bgtasks import NotJSON
from django_bgtasks.context import MESSAGE_LIMIT, Run, TaskContext
from django_bgtasks.models import Attempt, Job
from django_bgtasks.outcomes import PATH_LIMIT, Error
from django_bgtasks.signals import job_ended, job_started
from tests.sample import tasks as sample
from tests.sample import vandals

pytestmark = pytest.mark.django_db(transaction=True)

AT_FIRST = ("Europe/Berlin", "en-us", "nobody's", "nobody's", 28)
CHANGED = ("Asia/Tokyo", "de", "the vandal's", "the vandal's", 3)


def statuses():
    return list(Job.objects.order_by("id").values_list("status", flat=True))


@pytest.mark.parametrize("task", [vandals.fail_as, vandals.afail_as])
@pytest.mark.parametrize("kind", vandals.ERRORS)
def test_whatever_it_raises_is_its_own_failure(drain, task, kind):
    task(kind)
    sample.add(1)
    drain(threads=1)
    assert statuses() == ["FAILED", "SUCCESSFUL"]
    attempt = Attempt.objects.get()
    # Of one that lies about its class, one learns only that.
    name = "ValueError" if kind == "Lying" else kind
    assert name in attempt.error
    assert name in attempt.traceback
    assert len(attempt.traceback) <= 20_000
    assert len(attempt.exception_class_path) <= PATH_LIMIT


@pytest.mark.once
def test_a_handler_that_raises_takes_no_thread_along(drain, monkeypatch, caplog):
    """As any does whose stream was closed."""

    class Broken(logging.Handler):
        def emit(self, record):
            raise ValueError("I/O operation on closed file")

    for name, level in (
        ("django", logging.INFO),
        ("django_tasks", logging.INFO),
        ("django_bgtasks", logging.WARNING),
    ):
        monkeypatch.setattr(logging.getLogger(name), "handlers", [Broken()])
        caplog.set_level(level, logger=name)
    vandals.fail_as("Own")
    sample.add(1)
    drain(threads=1)
    assert statuses() == ["FAILED", "SUCCESSFUL"]


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("treacherous", "the return value cannot be read: OSError"),
        ("endless", "more than 30 levels deep"),
        ("a range", "at most 1,000,000 are kept"),
        ("a generator", "the return value is a generator"),
        ("bytes", "bytes that are not UTF-8"),
        ("an instance", "pass its primary key (.pk)"),
        ("many", "takes 2,008,000 characters as JSON; at most 1,000,000 are kept"),
    ],
)
def test_what_cannot_be_kept_fails_once(drain, kind, told):
    vandals.return_a_value(kind)
    drain()
    assert statuses() == ["FAILED"]
    assert told in Attempt.objects.get().traceback
    assert sample.calls == [kind], "the work is done, and is not done again"


@pytest.mark.parametrize(
    "change", [vandals.change_its_context, vandals.achange_its_context]
)
@pytest.mark.parametrize("look", [vandals.note_its_context, vandals.anote_its_context])
def test_no_job_is_in_anothers_context(drain, change, look):
    change()
    look()
    drain(threads=1)
    assert statuses() == ["SUCCESSFUL"] * 2
    changed = set(sample.calls[: -1 - (look.is_async)])
    assert changed == {CHANGED}
    assert set(sample.calls[-1 - look.is_async :]) == {AT_FIRST}


@pytest.mark.parametrize("look", [vandals.note_its_context, vandals.anote_its_context])
def test_body_and_receivers_are_in_one(drain, look):
    """So a tracer can open a span when a job starts, and close it at its end."""
    seen = []

    def started(job, **kwargs):
        seen.append(vandals.variable.get())
        vandals.variable.set(f"of {job.args}")

    def ended(job, **kwargs):
        seen.append(vandals.variable.get())

    job_started.connect(started)
    job_ended.connect(ended)
    try:
        look()
        look()
        drain(threads=1)
    finally:
        job_started.disconnect(started)
        job_ended.disconnect(ended)
    assert seen == ["nobody's", "of []"] * 2
    assert {variable for _, _, variable, _, _ in sample.calls} == {"of []"}


@pytest.mark.once
class TestProgress:
    @pytest.fixture
    def reported(self):
        reports = []
        run = Run({})
        run.report = reports.append
        context = TaskContext(task_result=None, run=run)

        def report(*args):
            context.progress(*args)
            return reports[-1]

        return report

    def test_what_is_cut_out_of_a_message_is_told(self, reported):
        message = reported(1, 2, "a" * 5000 + "z")["message"]
        assert len(message) <= MESSAGE_LIMIT
        assert message.startswith("aaa")
        assert message.endswith("aaz")
        assert "characters left out" in message

    def test_a_short_one_is_kept(self, reported):
        assert reported(1, None, "as it is") == {
            "done": 1,
            "total": None,
            "message": "as it is",
        }

    @pytest.mark.parametrize(
        "number", ["x" * 10, [1] * 1000, 2**64, -(2**64), float("inf"), None, object()]
    )
    def test_only_numbers_are_kept_and_no_endless_ones(self, reported, number):
        with pytest.raises(NotJSON, match="done"):
            reported(number, 5)


@pytest.mark.once
def test_an_error_that_python_cannot_show_is_named():
    error = Error.from_exception(vandals.broken_syntax_error())
    assert "SyntaxError" in error.summary
    assert "SyntaxError" in error.traceback


@pytest.mark.once
def test_standard_files_that_were_closed_are_taken_by_nobody_else():
    """In a process of its own, for this one needs them."""
    code = """
import os
from django_bgtasks.worker import streams
os.close(1)
os.close(0)
streams.plug_gaps()
print("into the void", flush=True)
assert os.open(os.devnull, os.O_RDONLY) > 2
streams.plug_gaps()
assert os.open(os.devnull, os.O_RDONLY) > 3
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, text=True
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
