import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from django_bgtasks.models import Tally

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _history():
    now = timezone.now()
    Tally.objects.create(
        queue="mail",
        minute=now - timedelta(minutes=10),
        successful=3,
        failed=1,
        retried=20,
        waits={"16": 4},
        runs={"23": 4},
    )
    Tally.objects.create(
        queue="slow", minute=now - timedelta(minutes=50), cancelled=1234567
    )
    Tally.objects.create(queue="old", minute=now - timedelta(hours=2), failed=1)


def test_a_table(capsys):
    call_command("task_stats")
    assert capsys.readouterr().out.splitlines() == [
        "queue  successful  failed  cancelled  retried  failure  per minute"
        "     wait  wait 95 %    run  run 95 %",
        "mail            3       1          0       20    25.0%         0.1"
        "  49.2 ms    63.9 ms  6.3 s     8.2 s",
        "slow            0       0    1234567        0        -     20576.1"
        "        -          -      -         -",
    ]


def test_json(capsys):
    call_command("task_stats", "--json", "--since=2d")
    mail, old, slow = json.loads(capsys.readouterr().out)
    assert (mail["queue"], old["queue"], slow["queue"]) == ("mail", "old", "slow")
    assert (mail["finished"], mail["retried"], mail["failure_rate"]) == (4, 20, 0.25)
    assert mail["minutes"] == 2880
    assert mail["run"]["median"] == pytest.approx(6.29, abs=0.01)
    assert slow["wait"] == {"mean": None, "median": None, "p95": None}


def test_nothing(capsys):
    call_command("task_stats", "--since=9m")
    assert capsys.readouterr().out == "Nothing has ended in that time.\n"
    call_command("task_stats", "--since=9m", "--json")
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize("age", ["0h", "1", "h", "-1h", "1w", "91d", "9999999m", "1 h"])
def test_nonsense_is_refused(age):
    with pytest.raises(CommandError, match="is no time such as 30m, 1h or 7d"):
        call_command("task_stats", f"--since={age}")
