"""Tasks of the chaos suite. Each body is audited from end to end."""

import asyncio
import ctypes
import os
import signal
import threading
import time
from pathlib import Path

from django.db import InterfaceError, OperationalError, connection
from django.db.models import F

from django_bgtasks import Snooze, background
from tests.chaos.app.audit import body
from tests.chaos.app.models import Counter

#: For tasks that shall succeed in the end, however often their worker dies.
patient = background(max_attempts=50, backoff=0.05)


class Fault(Exception):
    """What tasks that are meant to fail raise."""


@patient
def tiny():
    with body():
        pass


@patient
def work(seconds):
    """In steps, for an interruption comes between two of them."""
    with body():
        pause, until = threading.Event(), time.monotonic() + seconds
        while (rest := until - time.monotonic()) > 0:
            pause.wait(min(rest, 0.01))


@patient
async def wait(seconds):
    with body():
        await asyncio.sleep(seconds)  # this is what the job does


@patient
def fail_at_first(attempts):
    with body() as job:
        if job.attempt <= attempts:
            raise Fault(f"attempt {job.attempt}")


@background(max_attempts=2, backoff=0.05)
def fail():
    with body():
        raise Fault("as ever")


@patient
def snooze(times):
    with body() as job:
        if job.run_token <= times:
            raise Snooze(0.05)


@background(max_attempts=50, backoff=0.05, atomic=True)
def count(name):
    with body():
        add_one(name)


@background(max_attempts=50, backoff=0.05, atomic=True)
def count_and_wait(name, halfway, gate):
    """Says when it has counted, and has yet to end."""
    with body():
        add_one(name)
        Path(halfway).touch()
        wait_until_there_is(gate)


def add_one(name):
    Counter.objects.filter(name=name).update(value=F("value") + 1)


@patient
def wait_for_file(path):
    with body():
        wait_until_there_is(path)


def wait_until_there_is(path):
    pause = threading.Event()
    while not Path(path).exists():
        pause.wait(0.01)


@background(max_attempts=1, on_lost="fail")
def run_once(seconds):
    """Must not be begun again after its worker was lost."""
    with body():
        threading.Event().wait(seconds)


@background(max_attempts=2, backoff=0.05, timeout=0.3)
def overrun(how):
    """Goes on until its time limit stops it."""
    with body():
        while True:
            PASTIMES[how]()


@background(max_attempts=2, backoff=0.05, timeout=0.3)
def be_stubborn(how):
    """Heeds no interruption: its process has to go."""
    with body():
        HOLDS[how](60)


hoard = []


@patient
def leak(megabytes):
    with body():
        # Written to, for until then it would take no memory.
        hoard.append(b"x" * (megabytes << 20))


@background(max_attempts=3, backoff=0.05)
def take_the_process_down(how):
    with body():
        MURDERS[how]()


@background(max_attempts=2, backoff=0.05)
def hold_the_gil(seconds):
    """One call into C that lets no other thread of the process run."""
    with body():
        keep_the_gil(seconds)


def keep_the_gil(seconds):
    ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))


def sleep(seconds):
    """As time.sleep does, which cannot where the clocks are faked."""
    ctypes.CDLL(None).usleep(int(seconds * 1_000_000))


def query():
    """For seconds, if nobody cancels it."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(LONG_QUERIES[connection.vendor])
    except (OperationalError, InterfaceError):
        # Cancelled, or the server has thrown it out: of no concern to a pastime.
        connection.close()


LONG_QUERIES = {
    "mysql": "DO SLEEP(5)",
    "postgresql": "SELECT pg_sleep(5)",
    "sqlite": """
        WITH RECURSIVE number(n) AS (
            SELECT 1 UNION ALL SELECT n + 1 FROM number LIMIT 50000000)
        SELECT count(*) FROM number
    """,
}
#: Between two of them, one can be interrupted.
PASTIMES = {
    "in Python": lambda: threading.Event().wait(0.001),
    "asleep in C": lambda: sleep(0.05),
    "in a query": query,
    "with the GIL": lambda: keep_the_gil(0.05),
}
#: In the middle of them, one cannot.
HOLDS = {"asleep in C": sleep, "with the GIL": keep_the_gil}


def kill_itself():
    """As the system does to a process when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def segfault():
    ctypes.string_at(0)


MURDERS = {
    "exits": lambda: os._exit(3),
    "segfaults": segfault,
    "is killed": kill_itself,
}
