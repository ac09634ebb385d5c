from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.utils import timezone

from django_bgtasks.models import Job
from django_bgtasks.store import maintenance
from tests.factories import make_finished, make_job

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _history():
    for days in (0, 3, 30):
        for status in ("SUCCESSFUL", "FAILED", "CANCELLED"):
            make_finished(status, timezone.now() - timedelta(days=days))
    make_job()


def left():
    return sorted(Job.objects.values_list("status", flat=True))


def test_ages_come_from_the_settings(capsys):
    call_command("prune_tasks")
    assert left() == ["CANCELLED", "FAILED", "FAILED", "READY", "SUCCESSFUL"]
    assert "5 jobs deleted." in capsys.readouterr().out


def test_ages_may_be_given(capsys):
    call_command("prune_tasks", "--failed-days=0", "--successful-days=10")
    assert left() == ["CANCELLED", "READY", "SUCCESSFUL", "SUCCESSFUL"]


@override_settings(BGTASKS={"RETENTION": dict.fromkeys(("SUCCESSFUL", "CANCELLED"))})
def test_none_keeps(capsys):
    call_command("prune_tasks")
    assert len(left()) == 9


def test_a_dry_run_deletes_nothing(capsys):
    call_command("prune_tasks", "--dry-run")
    assert len(left()) == 10
    assert "5 jobs would be deleted." in capsys.readouterr().out


def test_it_goes_on_until_all_is_gone(monkeypatch, capsys):
    original, batches = maintenance.prune, []

    def prune(now, retention):
        batches.append(original(now, retention, limit=2))
        return batches[-1]

    monkeypatch.setattr(maintenance, "prune", prune)
    call_command("prune_tasks")
    assert batches == [2, 2, 1, 0]


@pytest.mark.parametrize("argument", ["--failed-days=-1", "--failed-days=x"])
def test_nonsense_is_refused(argument):
    with pytest.raises(CommandError):
        call_command("prune_tasks", argument)
