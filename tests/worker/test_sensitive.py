"""Jobs with secrets: nothing that a worker stores of an error or logs tells them."""

import logging
import sys
import uuid
from datetime import timedelta

import pytest
from django.db import DataError
from django.utils import timezone

from django_bgtasks._framework import task_finished
from django_bgtasks.exceptions import WorkerLost
from django_bgtasks.models import Attempt, Job
from django_bgtasks.outcomes import Succeeded
from django_bgtasks.redaction import MASK
from django_bgtasks.signals import job_ended
from django_bgtasks.store import lifecycle
from django_bgtasks.worker.clock import Clock
from django_bgtasks.worker.execution import Execution
from django_bgtasks.worker.rescue import rescue
from tests.factories import make_running
from tests.sample import plain_tasks
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = 'hunter2 it\'s "mine"\n& yours'
#: A piece that every way of writing it leaves as it is.
PIECE = "hunter2"


@pytest.fixture(autouse=True)
def _all_is_logged(caplog):
    for logger in ("django_bgtasks", "django.tasks", "django_tasks"):
        caplog.set_level(logging.DEBUG, logger=logger)


@pytest.fixture
def stored():
    """All that the attempts say."""
    return lambda: "\n".join(f"{a.error}\n{a.traceback}" for a in Attempt.objects.all())


def assert_hidden(text, *pieces):
    assert MASK in text
    for piece in (PIECE, *pieces):
        assert piece not in text


@pytest.mark.parametrize("how", ["message", "repr", "url", "taken apart", "long"])
def test_no_error_tells_a_sensitive_value(drain, stored, caplog, how):
    sample.pay("ada", SECRET, how=how, card={"number": "4111 1111"})
    drain()
    attempts = Attempt.objects.all()
    assert [attempt.ending for attempt in attempts] == ["FAILED", "FAILED"]
    assert {attempt.error for attempt in attempts} == {"RuntimeError: not paid"}
    assert "ValueError" in attempts[0].traceback
    assert_hidden(stored(), "4111 1111")
    assert_hidden(caplog.text, "4111 1111")


def test_the_row_and_the_task_have_the_value(drain):
    result = sample.pay_step_by_step(SECRET)
    drain()
    result.refresh()
    assert result.return_value == {"paid with": [SECRET]}
    assert result.args == Job.objects.get().args == [SECRET]


@pytest.mark.parametrize(
    ("task", "args"),
    [
        (sample.apay, [SECRET]),
        (sample.change_password, ["ada", SECRET]),
        (sample.achange_password, ["ada", SECRET]),
        (sample.pay_with_broken_backoff, [SECRET]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_every_kind_of_task(drain, stored, caplog, task, args):
    task(*args)
    drain()
    assert "Error" in stored()
    assert_hidden(stored())
    assert_hidden(caplog.text)


def test_djangos_plain_tasks(drain, stored, caplog, settings):
    settings.TASKS = {
        "default": {"BACKEND": plain_tasks.IMMEDIATE},
        "bgtasks": {"BACKEND": "django_bgtasks.backend.DatabaseBackend"},
    }
    plain_tasks.change_password.using(backend="bgtasks").enqueue("ada", SECRET)
    drain()
    assert "change_password" in stored()
    assert_hidden(stored())
    assert_hidden(caplog.text)


def test_trouble_after_the_commit(drain, stored, caplog):
    sample.pay_at_once(SECRET)
    drain()
    assert Job.objects.get().status == "SUCCESSFUL"
    assert "Trouble after the commit" in caplog.text
    assert_hidden(caplog.text)


def test_a_run_that_takes_too_long(worker, until, time, stored, caplog):
    sample.pay_for_ever(SECRET)
    until(sample.started.is_set)
    time.advance(6)
    until(lambda: Attempt.objects.count() == 1)
    assert Attempt.objects.get().ending == "TIMED_OUT"
    assert_hidden(stored())
    assert_hidden(caplog.text)


def test_a_run_that_is_cancelled(drain, stored, caplog):
    sample.pay_unless_cancelled(SECRET)
    drain()
    assert Attempt.objects.get().ending == "CANCELLED"
    assert_hidden(stored())
    assert_hidden(caplog.text)


def test_a_run_that_is_lost(worker, stored, caplog):
    worker = uuid.uuid4()
    make_running(worker, task=sample.pay.path, args=["ada", SECRET])
    clock = Clock(timezone.now)
    clock.sync()
    rescue(worker, lambda job: WorkerLost(f"died of {SECRET}", 1, 2), clock)
    assert Attempt.objects.get().ending == "LOST"
    assert_hidden(stored())
    assert_hidden(caplog.text)


def test_receivers_find_no_secret_at_hand(drain, caplog):
    found = []

    def look(**kwargs):
        kind, error, trace = sys.exc_info()
        found.append((kind.__name__, error.__context__, error.__cause__, trace))
        raise LookupError("a receiver of no use")

    job_ended.connect(look)
    task_finished.connect(look)
    try:
        sample.change_password("ada", SECRET, priority=1)
        drain()
        Job.objects.update(run_after=timezone.now() + timedelta(days=1))
        sample.pay("ada", SECRET, how="message", card=[])
        drain()
    finally:
        job_ended.disconnect(look)
        task_finished.disconnect(look)
    # The first is tried again later; the second has two attempts and ends.
    assert found == [("Redacted", None, None, None)] * 4
    assert "a receiver of no use" in caplog.text
    assert_hidden(caplog.text)


@pytest.mark.parametrize("name", ["_begin", "_end"])
def test_trouble_around_the_body(drain, monkeypatch, stored, caplog, name):
    def broken(*args, **kwargs):
        raise OSError(f"cannot log {SECRET}")

    monkeypatch.setattr(Execution, name, broken)
    sample.pay("ada", SECRET, how="message")
    drain()
    assert "OSError: cannot log" in caplog.text
    assert_hidden(caplog.text)
    assert_hidden(stored())


def test_an_outcome_that_cannot_be_stored(drain, monkeypatch, stored, caplog):
    def refuse(worker, ended, now, finish=lifecycle.finish):
        if any(isinstance(outcome, Succeeded) for _, outcome in ended):
            raise DataError(f"invalid: {[outcome for _, outcome in ended]}")
        return finish(worker, ended, now)

    def refuse_all(*args):
        raise DataError("one of them is invalid")

    monkeypatch.setattr(lifecycle, "finish", refuse)
    monkeypatch.setattr(lifecycle, "finish_and_claim", refuse_all)
    sample.pay_step_by_step(SECRET)
    drain()
    assert Job.objects.get().status == "FAILED"
    assert "DataError: invalid" in stored()
    assert_hidden(stored())
    assert_hidden(caplog.text)


def test_a_task_without_secrets_is_told_as_ever(drain, caplog):
    sample.fail.using(max_attempts=1)(SECRET)
    drain()
    assert SECRET in Attempt.objects.get().traceback
    assert any(
        record.exc_info and record.exc_info[0] is ValueError
        for record in caplog.records
    )
