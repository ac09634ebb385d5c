"""Hosts whose clocks are wrong: only the database's counts."""

import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from tests.chaos.app import tasks
from tests.chaos.conftest import missing
from tests.chaos.hosts import HEARTBEAT_TIMEOUT
from tests.chaos.size import size


@pytest.fixture
def skewed():
    """Environment of a process whose clock is off by so much, as ``+1h``."""
    if connection.vendor == "sqlite":
        pytest.skip("an embedded database has the clock of its only host")
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        missing("libfaketime")
    return lambda offset: {
        "LD_PRELOAD": str(library),
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def test_an_hour_ahead_and_an_hour_behind(storm, skewed):
    began, delay = time.monotonic(), 2 * HEARTBEAT_TIMEOUT
    due = timezone.now() + timedelta(seconds=delay)
    later = tasks.tiny.using(run_after=due).enqueue()
    long = [tasks.work(1.5 * HEARTBEAT_TIMEOUT) for _ in range(2)]
    for offset in ("+1h", "-1h"):
        storm.start("--processes=2", **skewed(offset))
    storm.load.add(size(200, 10_000))
    storm.settle()
    runs = storm.audit.runs()
    assert [len(runs[job.id]) for job in long] == [1, 1], "rescued from the living"
    assert runs[later.id][0].began >= began + delay, "started early"
    assert not any(run.ended is None for job in runs.values() for run in job)
    # Otherwise the clocks were right, and this shows nothing.
    for host, hours in zip(storm.hosts, (1, -1), strict=True):
        wrong = timezone.localtime() + timedelta(hours=hours)
        assert f"\n{wrong:%Y-%m-%d %H}" in host.output
