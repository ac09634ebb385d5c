import json
import uuid
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from tests.factories import make_job

pytestmark = pytest.mark.django_db


def test_all_that_holds_it(capsys):
    soon = timezone.now() + timedelta(hours=2)
    job = make_job(status="SCHEDULED", run_after=soon)
    call_command("explain_task", str(job.pk))
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("It is due in ")
    assert second == "No worker is alive. Start one: manage.py run_tasks."


def test_json(capsys):
    job = make_job(queue="mail")
    call_command("explain_task", str(job.pk), "--json")
    found = json.loads(capsys.readouterr().out)
    assert (found["code"], found["facts"]["queue"]) == ("no_worker", "mail")
    assert found["also"][0]["code"] == "next"


def test_no_such_job():
    with pytest.raises(CommandError, match="There is no job"):
        call_command("explain_task", str(uuid.uuid4()))
