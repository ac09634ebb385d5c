"""What failed lately, by task and exception."""

from datetime import timedelta

import pytest
from django.utils import timezone

from django_bgtasks.models import Attempt
from django_bgtasks.models.job import new_id
from django_bgtasks.redaction import MASK
from django_bgtasks.store import failures
from tests.factories import make_finished
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db

NOW = timezone.now().replace(microsecond=0)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def failed(ago, exception="builtins.ValueError", error="ValueError: no", **columns):
    job = make_finished("FAILED", NOW - ago, **columns)
    if exception:
        attempt(job, "builtins.OSError", "OSError: at first")
        attempt(job, exception, error)
    return job


def attempt(job, exception, error):
    Attempt.objects.create(
        job=job,
        number=1,
        ending=Attempt.Ending.FAILED,
        worker=new_id(),
        started_at=NOW,
        finished_at=NOW,
        exception_class_path=exception,
        error=error,
        traceback="",
    )


def test_failures_are_folded_by_task_and_last_exception():
    failed(3 * MINUTE, error="ValueError: second")
    failed(HOUR, error="ValueError: first")
    failed(MINUTE, error="ValueError: third")
    failed(2 * MINUTE, "builtins.KeyError", "KeyError: 'x'")
    failed(2 * MINUTE, task=sample.send_mail.path)
    failed(25 * HOUR)
    make_finished("CANCELLED", NOW)
    found = failures.recent(NOW)
    assert not found.is_capped
    first, *others = found.kinds
    assert (first.task, first.exception) == (sample.add.path, "builtins.ValueError")
    assert (first.count, first.error) == (3, "ValueError: third")
    assert (first.first_at, first.last_at) == (NOW - HOUR, NOW - MINUTE)
    assert {(kind.task, kind.exception, kind.count) for kind in others} == {
        (sample.add.path, "builtins.KeyError", 1),
        (sample.send_mail.path, "builtins.ValueError", 1),
    }


def test_the_jobs_of_a_kind():
    old, new = failed(HOUR), failed(MINUTE)
    failed(MINUTE, "builtins.KeyError")
    nothing = failed(MINUTE, "", task="gone")
    kind = (sample.add.path, "builtins.ValueError")
    assert failures.of_kind(*kind, NOW) == [new.pk, old.pk]
    assert failures.of_kind("gone", "", NOW) == [nothing.pk]
    assert failures.of_kind("gone", "builtins.ValueError", NOW) == []


def test_secrets_are_no_part_of_a_line():
    failed(
        MINUTE,
        task=sample.pay.path,
        args=["ada", "hunter22"],
        error="ValueError: hunter22 is no password",
    )
    failed(MINUTE, task="unknown.here", args=["hunter22"], error="ValueError: hunter22")
    errors = {kind.task: kind.error for kind in failures.recent(NOW).kinds}
    assert errors == {
        sample.pay.path: f"ValueError: {MASK} is no password",
        "unknown.here": f"ValueError: {MASK}",
    }


def test_only_the_newest_are_looked_at(monkeypatch):
    monkeypatch.setattr(failures, "LIMIT", 2)
    for minutes in (1, 2, 3):
        failed(minutes * MINUTE)
    found = failures.recent(NOW)
    assert (found.is_capped, found.kinds[0].count) == (True, 2)
    assert found.kinds[0].first_at == NOW - 2 * MINUTE
    assert len(failures.of_kind(sample.add.path, "builtins.ValueError", NOW)) == 2


def test_kinds_have_a_limit_too(monkeypatch):
    monkeypatch.setattr(failures, "KIND_LIMIT", 2)
    for n in range(3):
        failed((n + 1) * MINUTE, f"shop.Error{n}")
    kinds = failures.recent(NOW).kinds
    assert {kind.exception for kind in kinds} == {"shop.Error0", "shop.Error1"}


@pytest.mark.parametrize("count", [0, 1, 30])
def test_many_failures_take_no_more_queries(count, django_assert_num_queries):
    for n in range(count):
        failed(MINUTE, f"shop.Error{n}")
    with django_assert_num_queries(2 if count else 1):
        failures.recent(NOW)
