from __future__ import annotations

import threading
from datetime import timedelta

import hypothesis
import pytest
from django.db import connection
from django.utils import timezone, translation

from django_bgtasks import timing
from django_bgtasks.conf import get_settings
from django_bgtasks.models import Job
from django_bgtasks.signals import worker_started
from django_bgtasks.store import wakeup
from django_bgtasks.worker.clock import Clock
from django_bgtasks.worker.options import WorkerOptions
from django_bgtasks.worker.worker import Worker
from tests.browsing import admin, browser, log_in, site  # noqa: F401 (fixtures)
from tests.factories import in_thread
from tests.sample import tasks as sample

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile(
    "tests", hypothesis.settings.default, deadline=None
)
hypothesis.settings.load_profile("tests")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """The long ones first: one that is left for the end keeps a core idle."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


class FakeTime:
    """A monotonic clock that moves when told."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture(autouse=True)
def _fresh_sample():
    sample.reset()
    get_settings.cache_clear()
    # The calls of the test before are no reason to be silent now.
    wakeup._called_at.clear()
    timing.learn(timezone.now())
    yield
    sample.gate.set()
    get_settings.cache_clear()
    # A request leaves the thread in its language.
    translation.deactivate()


@pytest.fixture
def time():
    return FakeTime()


@pytest.fixture
def drain():
    """Run a real worker in this thread until nothing is due."""

    def run(**options):
        options = {"threads": 2, "drain": True, **options}
        Worker(WorkerOptions(**options)).run()

    return run


@pytest.fixture
def worker(time):
    """A worker that the test drives by hand, on a clock that it moves."""
    began = timezone.now()
    clock = Clock(lambda: began + timedelta(seconds=time.seconds), time)
    worker = Worker(WorkerOptions(threads=4), clock)
    with worker._ears:
        worker.start()
        yield worker
        sample.gate.set()
        worker.stop()
        worker.shut_down()
        worker.close()


@pytest.fixture
def until(worker):
    """Drive ``worker`` until a condition holds; waits for events, not for time."""

    def drive(condition):
        for _ in range(1000):
            worker.tick()
            if condition():
                return
            worker.wait(0.01)
        pytest.fail(f"Never came true; jobs: {list(Job.objects.values())}")

    return drive


@pytest.fixture
def at_work():
    """Start workers, each in a thread; they stop with the test."""
    started = []
    is_ready = threading.Event()

    def note(sender, **kwargs):
        is_ready.set()

    def start(**options):
        worker = Worker(WorkerOptions(**{"threads": 4, **options}))
        is_ready.clear()
        started.append((worker, in_thread(worker.run)))
        # SQLite changes its mode for the first one only if nobody else reads.
        assert is_ready.wait(30)
        return worker

    def until(condition):
        """Wait for what some worker is going to do."""
        pause = threading.Event()
        for _ in range(3000):
            if condition():
                return
            pause.wait(0.01)
        pytest.fail("Never came true")

    start.until = until
    start.threads = lambda: [thread for _, thread in started]
    worker_started.connect(note)
    yield start
    worker_started.disconnect(note)
    sample.gate.set()
    for worker, _ in started:
        worker.stop()
    for _, thread in started:
        thread.join()


@pytest.fixture
def job_of():
    """The row behind a result."""
    return lambda result: Job.objects.get(pk=result.id)


@pytest.fixture
def only(request):
    """Skip a test whose point only some databases have."""

    def check(*vendors):
        if connection.vendor not in vendors:
            pytest.skip(f"of no concern on {connection.vendor}")

    return check
