from datetime import timedelta

import pytest
from django.utils import timezone

from django_bgtasks.models import Worker
from django_bgtasks.models.job import new_id
from django_bgtasks.models.worker import Instruction
from django_bgtasks.store import workers
from django_bgtasks.version import VERSION
from tests.factories import living_worker

pytestmark = pytest.mark.django_db

NOW = timezone.now()


def test_a_worker_says_which_version_it_is():
    row = workers.register(
        new_id(), hostname="box", pid=1, queues=(), threads=1, now=NOW
    )
    assert Worker.objects.get(pk=row.pk).version == VERSION


def test_only_who_knows_its_memory_writes_it():
    worker = living_worker()
    assert workers.beat([worker.pk], NOW, memory=5_000_000_000) == 1
    assert workers.beat([worker.pk], NOW + timedelta(seconds=1)) == 1
    worker.refresh_from_db()
    assert worker.memory == 5_000_000_000
    assert worker.heartbeat_at == NOW + timedelta(seconds=1)


def test_instructions_are_for_those_who_are_named():
    first, second, other = living_worker(), living_worker(), living_worker()
    told = [first.pk, second.pk]
    assert workers.instruct(told, Instruction.QUIET) == 2
    assert workers.instruct(told, Instruction.QUIET) == 0
    assert workers.instruction_of(first.pk) == "quiet"
    assert workers.instruction_of(other.pk) == ""
    assert workers.instruction_of(new_id()) is None
    assert workers.instruct(told, "") == 2
    assert workers.instruction_of(first.pk) == ""


def test_what_was_told_to_stop_stays_told_so():
    worker = living_worker(instruction=Instruction.STOP)
    for instruction in ("", Instruction.QUIET, Instruction.DRAIN, Instruction.STOP):
        assert workers.instruct([worker.pk], instruction) == 0
    assert workers.instruction_of(worker.pk) == "stop"
