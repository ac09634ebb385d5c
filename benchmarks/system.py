"""What every measured system implements, and how the suite speaks with it.

Each system is one file in ``systems/``, run by the Python of an environment of its own
with what its PEP 723 header asks for. The suite calls it with a verb:

    .bench/env/huey_redis/bin/python -m benchmarks.systems.huey_redis enqueue noop 1000

and reads one line of JSON; ``null`` says that the system has no such thing.
Environment: ``BENCH_PROOF`` (see ``bodies``), ``BENCH_DIR`` (a folder of the system's
own, for files such as a SQLite database), and what ``services`` says about servers.

Besides its class, a file says in capitals:

LABEL: what the tables call the system.
PACKAGE: the distribution whose version stands beside it.
JOBS: how many jobs it drains in some five seconds; default 2,000.
PROCESSES: numbers of worker processes to measure a drain with, each a figure of its
    own; default ``(0,)``, which leaves the choice to ``worker_command``.
"""

from __future__ import annotations

import json
import math
import os
import platform
import random
import shlex
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from benchmarks.waiting import comes_to

#: Seconds between two looks at what goes on: before the first job, and after it.
CLOSE_LOOK = 0.0005
GENTLE_LOOK = 0.005
#: Seconds that round trips may take in all, where each takes long.
ROUND_TRIPS_LIMIT = 15.0


@dataclass(frozen=True)
class Load:
    """What a worker command has to bear.

    Args:
        body: name of the function in ``bodies`` that the jobs run; ``schedules`` for
            the process that makes periodic jobs, and runs none.
        concurrency: jobs to run at the same time in all; 0: whatever drains fastest
            on two cores, by the system's own documentation.
        processes: worker processes; 0: as above.
    """

    body: str
    concurrency: int = 0
    processes: int = 0


class System(ABC):
    """One queue, set up as its documentation says it is fastest without losing work.

    Every method runs in the system's own environment. Log level WARNING everywhere,
    durability as it comes. A method that raises NotImplementedError, as those do that
    are not overridden, leaves a gap in the table.
    """

    @abstractmethod
    def reset(self) -> None:
        """Leave nothing of earlier runs: tables made and empty, queues empty."""

    def remove(self) -> None:
        """Drop what the system has made on servers, such as its database."""

    @abstractmethod
    def enqueue_one(self, body: str, *args: int) -> object:
        """Enqueue one job the ordinary way; return what ``wait_for`` needs."""

    def enqueue_many(self, body: str, count: int) -> None:
        """Enqueue by the system's own bulk call."""
        raise NotImplementedError

    def wait_for(self, handle: object) -> object:
        """The value of a finished job, as the system's clients wait for it."""
        raise NotImplementedError

    @abstractmethod
    def unsettled(self) -> int:
        """How many jobs are not finished by what the system itself records."""

    @abstractmethod
    def worker_command(self, load: Load) -> list[str]:
        """One command that starts the whole worker, as its users would type it."""

    def add_history(self, count: int) -> None:
        """Add finished jobs, as an old installation has them, by any quick way."""
        raise NotImplementedError

    def add_future(self, count: int) -> None:
        """Add jobs that are due in a year, by any quick way."""
        raise NotImplementedError

    def add_schedules(self, count: int) -> None:
        """Add schedules of which a hundredth is due in each full second."""
        raise NotImplementedError

    def add_sleeping_schedules(self, count: int) -> None:
        """Add schedules that are due in a year."""
        raise NotImplementedError

    def schedules_behind(self) -> float:
        """Seconds since the first tick that has no job yet; below 0 if all have."""
        raise NotImplementedError

    def new_ticks(self) -> list[float]:
        """The ticks of the jobs that the scheduler has made since the last question.

        As seconds since the epoch.
        """
        raise NotImplementedError

    def add_backlog(self, count: int) -> None:
        """Add ready jobs in a queue that the worker leaves alone, by any quick way."""
        raise NotImplementedError

    def add_week(self, count: int) -> None:
        """Add a week of finished jobs, and all that pages show beside them."""
        raise NotImplementedError

    def page_times(self) -> dict[str, float]:
        """Milliseconds that the server takes for each of the system's own pages."""
        raise NotImplementedError

    def hold_snapshot(self) -> None:
        """Open a transaction that sees what there is now, and leave it open."""
        raise NotImplementedError

    def autovacuum(self) -> None:
        """Do what PostgreSQL does by itself within a minute of loading many rows.

        In a drain of some seconds it would come never, or in the middle.
        """

    def server(self) -> str:
        """Name and version of the database or broker."""
        return ""

    def enqueue(self, body: str, count: int) -> None:
        """Fill the queue: in bulk if there is such a call."""
        try:
            self.enqueue_many(body, count)
        except NotImplementedError:
            for _ in range(count):
                self.enqueue_one(body)


def module_name() -> str:
    """The dotted name of the system's file, which itself runs as ``__main__``."""
    return sys.modules["__main__"].__spec__.name


def at_once(command: list[str], count: int) -> list[str]:
    """``count`` times the same command, for systems that have no option for that."""
    if count == 1:
        return command
    each = f"for n in $(seq {count}); do {shlex.join(command)} & done; wait"
    return ["sh", "-c", each]


def serve(system: System) -> None:
    """Do what the command line says: the end of every file in ``systems/``."""
    verb, *args = sys.argv[1:]
    try:
        answer = _VERBS[verb](system, *args)
    except NotImplementedError:
        answer = None
    print(json.dumps(answer), flush=True)


def _describe(system: System) -> dict[str, object]:
    constants = vars(sys.modules["__main__"])
    packages = {
        distribution.name: distribution.version
        for distribution in metadata.distributions()
        if distribution.name != "pip"
    }
    return {
        "label": constants["LABEL"],
        "package": constants.get("PACKAGE"),
        "jobs": constants.get("JOBS", 2_000),
        "processes": constants.get("PROCESSES", (0,)),
        "python": platform.python_version(),
        "packages": dict(sorted(packages.items())),
        "server": system.server(),
    }


def _reset(system: System) -> bool:
    system.reset()
    return True


def _remove(system: System) -> bool:
    system.remove()
    return True


def _enqueue(system: System, body: str, count: str) -> bool:
    system.enqueue(body, int(count))
    system.autovacuum()
    return True


def _unsettled(system: System) -> int:
    return system.unsettled()


def _worker_command(
    system: System, body: str, concurrency: str, processes: str
) -> list[str]:
    return system.worker_command(Load(body, int(concurrency), int(processes)))


def _worker(system: System, body: str, concurrency: str, processes: str) -> None:
    command = _worker_command(system, body, concurrency, processes)
    os.execvp(command[0], command)  # noqa: S606 (becoming the worker)


def _watch(system: System, count: str) -> dict[str, int | None]:
    """When the first job ran, and when the last of ``count`` was settled.

    By time.time_ns(); None for what did not happen. Starts with a line that says
    that the worker may be started now.
    """
    system.unsettled()  # is connected now
    print("ready", flush=True)
    first = settled = None
    if _proof_grows_to(1, CLOSE_LOOK):
        first = time.time_ns()
        if _proof_grows_to(int(count), GENTLE_LOOK) and _everything_settles(system):
            settled = time.time_ns()
    return {"first": first, "settled": settled, "unsettled": system.unsettled()}


def _proof_grows_to(size: int, pause: float) -> bool:
    path = Path(os.environ["BENCH_PROOF"])
    return comes_to(size, lambda: path.stat().st_size, pause=pause)


def _everything_settles(system: System) -> bool:
    return comes_to(0, lambda: -system.unsettled(), pause=GENTLE_LOOK)


def _enqueue_times(system: System, body: str, count: str) -> list[float]:
    """Seconds that each of ``count`` single enqueues took, after some to warm up."""
    for _ in range(20):
        system.enqueue_one(body)
    times = []
    for _ in range(int(count)):
        began = time.perf_counter()
        system.enqueue_one(body)
        times.append(time.perf_counter() - began)
    return times


def _bulk_time(system: System, body: str, count: str) -> float:
    """Seconds for ``count`` jobs by the bulk call."""
    system.enqueue_many(body, 100)
    began = time.perf_counter()
    system.enqueue_many(body, int(count))
    return time.perf_counter() - began


def _send_stamps(system: System, count: str, pause: str) -> bool:
    """Send jobs that note when they start, one by one, to a worker with time."""
    for _ in range(int(count)):
        # Around the pause, not exactly: a worker that polls must not keep in step.
        spread = random.uniform(0.5, 1.5)  # noqa: S311 (no secret)
        time.sleep(float(pause) * spread)  # noqa: TID251 (the worker becomes idle)
        system.enqueue_one("stamp", time.time_ns())
    return True


def _round_trips(system: System, count: str) -> list[float]:
    """Seconds from each enqueue until its value is back, after some to warm up."""
    for number in range(5):
        _round_trip(system, number)
    times: list[float] = []
    while len(times) < int(count) and sum(times) < ROUND_TRIPS_LIMIT:
        times.append(_round_trip(system, len(times)))
    return times


def _round_trip(system: System, number: int) -> float:
    began = time.perf_counter()
    value = system.wait_for(system.enqueue_one("echo", number))
    taken = time.perf_counter() - began
    if value != number:
        raise AssertionError(f"sent {number}, and {value!r} came back")
    return taken


def _add_history(system: System, count: str) -> bool:
    system.add_history(int(count))
    system.autovacuum()
    return True


def _add_future(system: System, count: str) -> bool:
    system.add_future(int(count))
    system.autovacuum()
    return True


def _add_backlog(system: System, count: str) -> bool:
    system.add_backlog(int(count))
    system.autovacuum()
    return True


def _add_week(system: System, count: str) -> bool:
    system.add_week(int(count))
    system.autovacuum()
    return True


def _page_times(system: System) -> dict[str, float]:
    return system.page_times()


def _add_schedules(system: System, count: str) -> bool:
    system.add_schedules(int(count))
    system.autovacuum()
    return True


def _add_sleeping_schedules(system: System, count: str) -> bool:
    system.add_sleeping_schedules(int(count))
    system.autovacuum()
    return True


def _tick_delays(system: System, seconds: str) -> list[float]:
    """How late jobs are there for others to see, for that many seconds.

    From when the scheduler has made up for what was due when it started.
    """
    comes_to(0, lambda: -math.ceil(system.schedules_behind()), pause=GENTLE_LOOK)
    system.new_ticks()
    delays: list[float] = []
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        ticks = system.new_ticks()
        now = time.time()
        delays += [now - tick for tick in ticks]
        time.sleep(GENTLE_LOOK)  # noqa: TID251 (rows send no event)
    return delays


def _hold_snapshot(system: System) -> bool:
    """Hold it until standard input ends."""
    system.hold_snapshot()
    print("ready", flush=True)
    sys.stdin.read()
    return True


_VERBS = {
    "describe": _describe,
    "reset": _reset,
    "remove": _remove,
    "enqueue": _enqueue,
    "unsettled": _unsettled,
    "worker-command": _worker_command,
    "worker": _worker,
    "watch": _watch,
    "enqueue-times": _enqueue_times,
    "bulk-time": _bulk_time,
    "send-stamps": _send_stamps,
    "round-trips": _round_trips,
    "add-history": _add_history,
    "add-future": _add_future,
    "add-backlog": _add_backlog,
    "add-week": _add_week,
    "page-times": _page_times,
    "add-schedules": _add_schedules,
    "add-sleeping-schedules": _add_sleeping_schedules,
    "tick-delays": _tick_delays,
    "hold-snapshot": _hold_snapshot,
}
