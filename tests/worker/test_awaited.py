"""Which jobs a worker believes to be awaited, and whom it calls."""

import pytest
from django.db import OperationalError

from django_bgtasks.models import Job
from django_bgtasks.models.job import new_id
from django_bgtasks.store.engines import get_engine
from django_bgtasks.worker import awaited as module
from django_bgtasks.worker.awaited import MEMORY, Awaited


class HeardOf:
    """Ears that heard what the test says."""

    def __init__(self):
        self.ids = set()

    def say(self, *jobs):
        self.ids.update(job.pk.hex for job in jobs)

    def awaited(self):
        ids, self.ids = self.ids, set()
        return ids


@pytest.fixture
def ears():
    return HeardOf()


@pytest.fixture
def awaited(ears, time):
    return Awaited(ears, time)


@pytest.fixture
def told(monkeypatch):
    """Ids that were called out."""
    ids = []
    monkeypatch.setattr(
        type(get_engine()), "tell_ended", lambda self, jobs: ids.extend(jobs)
    )
    return ids


def a_job(status="RUNNING"):
    return Job(id=new_id(), status=status)


def test_only_what_is_awaited_and_has_ended_is_told(awaited, ears, told):
    mine, others, again = a_job(), a_job(), a_job("SCHEDULED")
    awaited.tell([mine])
    ears.say(mine, again)
    awaited.tell([mine, others, again])
    assert told == [mine.pk.hex]
    awaited.tell([mine])
    assert told == [mine.pk.hex], "once is enough"
    again.status = "FAILED"
    awaited.tell([again])
    assert told == [mine.pk.hex, again.pk.hex]


def test_what_nobody_reminds_of_is_forgotten(awaited, ears, told, time):
    forgotten, reminded = a_job(), a_job()
    ears.say(forgotten)
    ears.say(reminded)
    awaited.listen()
    time.advance(MEMORY - 1)
    ears.say(reminded)
    awaited.listen()
    time.advance(1)
    awaited.tell([forgotten, reminded])
    assert told == [reminded.pk.hex]
    ears.say(reminded)
    awaited.listen()
    time.advance(MEMORY)
    awaited.listen()
    assert not awaited._until


def test_there_is_an_end_to_what_is_remembered(awaited, ears, told, monkeypatch):
    monkeypatch.setattr(module, "MOST", 10)
    jobs = [a_job() for _ in range(100)]
    for job in jobs:
        ears.say(job)
        awaited.listen()
    awaited.tell(jobs)
    assert told == [job.pk.hex for job in jobs[-10:]]


def test_who_cannot_be_told_is_no_trouble(awaited, ears, monkeypatch):
    def fail(self, jobs):
        raise OperationalError("gone")

    monkeypatch.setattr(type(get_engine()), "tell_ended", fail)
    job = a_job()
    ears.say(job)
    awaited.tell([job])
