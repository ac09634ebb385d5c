"""The workloads: each a function that measures one system once.

What it returns are metrics by name; ``results.METRICS`` says what each of them is.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.bodies import MARK, STAMP
from benchmarks.running import NotOffered, RunFailed, Subject, Worker
from benchmarks.system import Load

Metrics = dict[str, float]

#: Jobs that make a worker warm.
WARM_UP = 200
SINGLE_ENQUEUES = 1_000
BULK_ENQUEUES = 10_000
ROUND_TRIPS = 200
SNAPSHOT_JOBS = 15_000
#: Naps of 10 ms, 20 at a time: 2,000 a second at best.
NAPS = 6_000
NAPPERS = 20
CRUNCHES = 1_500
#: Seconds between two jobs that an idle worker picks up.
PICKUP_PAUSE = 0.1
#: Seconds in which a worker becomes idle, and in which its idleness is measured.
REST = 2
IDLE_SECONDS = 10


@dataclass(frozen=True)
class Sizes:
    """How much to measure.

    Args:
        jobs: most jobs of a drain; fewer for systems that are slower.
        rows: finished and future rows to drain beside; a tenth as many of another
            queue.
        samples: jobs picked up by an idle worker.
        schedules: periodic jobs; a hundredth of them is due in each second.
    """

    jobs: int
    rows: int
    samples: int
    schedules: int

    def jobs_for(self, subject: Subject) -> int:
        """Jobs that ``subject`` shall drain."""
        return min(self.jobs, subject.facts["jobs"])


def drain(subject: Subject, sizes: Sizes) -> Metrics:
    """Jobs that do nothing, from a full queue."""
    metrics = {}
    for processes in subject.facts["processes"]:
        subject.start_anew()
        load = Load("noop", processes=processes)
        name = f"drain_{processes}" if processes else "drain"
        metrics[name] = _drain(subject, load, sizes.jobs_for(subject))
    return metrics


def enqueue(subject: Subject, sizes: Sizes) -> Metrics:
    """Jobs enqueued one by one."""
    subject.start_anew()
    return _in_ms("enqueue", subject.ask("enqueue-times", "noop", SINGLE_ENQUEUES))


def bulk(subject: Subject, sizes: Sizes) -> Metrics:
    """Ten thousand jobs enqueued by the call that is made for many."""
    subject.start_anew()
    return {"bulk": BULK_ENQUEUES / subject.ask("bulk-time", "noop", BULK_ENQUEUES)}


def pickup(subject: Subject, sizes: Sizes) -> Metrics:
    """From just before the enqueue to the job's first line, on an idle worker."""
    warm_up = 10
    subject.start_anew()
    with subject.working(Load("stamp", processes=1)) as worker:
        for count in (warm_up, sizes.samples):
            sent = subject.proof.stat().st_size
            subject.ask("send-stamps", count, PICKUP_PAUSE)
            subject.wait_for_proof(sent + count * STAMP.size, worker)
    stamps = list(STAMP.iter_unpack(subject.proof.read_bytes()))
    if len(stamps) != warm_up + sizes.samples:
        raise RunFailed(f"{warm_up + sizes.samples} jobs ran {len(stamps)} times")
    latencies = [(started - sent) / 1e9 for sent, started in stamps[warm_up:]]
    return _in_ms("pickup", latencies)


def round_trip(subject: Subject, sizes: Sizes) -> Metrics:
    """From the enqueue until the value is back, one after the other."""
    subject.start_anew()
    with subject.working(Load("echo", processes=1)):
        return _in_ms("round_trip", subject.ask("round-trips", ROUND_TRIPS))


def memory(subject: Subject, sizes: Sizes) -> Metrics:
    """What a worker's processes take, with one and with two for the work."""
    metrics = {}
    for processes in (1, 2):
        load = Load("noop", processes=processes)
        try:
            idle, loaded = _memory(subject, load, sizes.jobs_for(subject))
        except NotOffered:
            continue
        metrics[f"memory_idle_{processes}"] = idle
        metrics[f"memory_loaded_{processes}"] = loaded
    if not metrics:
        raise NotOffered
    return metrics


def idle(subject: Subject, sizes: Sizes) -> Metrics:
    """What a worker uses that has nothing to do, in percent of a core."""
    subject.start_anew()
    with subject.working(Load("noop", processes=1)) as worker:
        _warm_up(subject, worker)
        before = worker.cpu_seconds()
        time.sleep(IDLE_SECONDS)  # noqa: TID251 (this is measured)
        used = worker.cpu_seconds() - before
    return {"idle_cpu": 100 * used / IDLE_SECONDS}


def naps(subject: Subject, sizes: Sizes) -> Metrics:
    """Jobs that wait, many at a time."""
    subject.start_anew()
    load = Load("nap", concurrency=NAPPERS)
    return {"naps": _drain(subject, load, min(NAPS, sizes.jobs_for(subject)))}


def crunch(subject: Subject, sizes: Sizes) -> Metrics:
    """Jobs that compute, in two processes."""
    subject.start_anew()
    load = Load("crunch", concurrency=2, processes=2)
    return {"crunch": _drain(subject, load, min(CRUNCHES, sizes.jobs_for(subject)))}


def schedules(subject: Subject, sizes: Sizes) -> Metrics:
    """Periodic jobs, a hundredth of them due in each second; and none of them due."""
    subject.start_anew()
    subject.ask("add-schedules", sizes.schedules)
    with subject.working(Load("schedules")) as scheduler:
        delays = subject.ask("tick-delays", IDLE_SECONDS)
    if len(delays) < sizes.schedules / 100 * (IDLE_SECONDS - 1):
        raise RunFailed(f"in {IDLE_SECONDS} s, {len(delays)} ticks had jobs")
    subject.start_anew()
    subject.ask("add-sleeping-schedules", sizes.schedules)
    with subject.working(Load("schedules")) as scheduler:
        time.sleep(REST)  # noqa: TID251 (becoming idle is no event)
        before = scheduler.cpu_seconds()
        time.sleep(IDLE_SECONDS)  # noqa: TID251 (this is measured)
        idle = scheduler.cpu_seconds() - before
    return {
        **_in_ms("tick", delays),
        "tick_max": 1000 * max(delays),
        "scheduler_idle_cpu": 100 * idle / IDLE_SECONDS,
    }


def flat(subject: Subject, sizes: Sizes) -> Metrics:
    """A drain of an empty installation, and of three that hold many rows."""
    full = {
        "history": _installation(subject, "history", sizes.rows),
        "future": _installation(subject, "future", sizes.rows),
        "backlog": _installation(subject, "backlog", sizes.rows // 10),
    }
    subject.start_anew()
    count = sizes.jobs_for(subject)
    return {
        f"flat_{kind}": _drain(installation, Load("noop"), count)
        for kind, installation in {"empty": subject, **full}.items()
    }


def snapshot(subject: Subject, sizes: Sizes) -> Metrics:
    """A drain while somebody's transaction is open since before the enqueue."""
    count = min(SNAPSHOT_JOBS, sizes.jobs_for(subject))
    subject.start_anew()
    with subject.asking("hold-snapshot"):
        held = _drain(subject, Load("noop"), count)
    subject.start_anew()
    return {
        "snapshot_held": held,
        "snapshot_none": _drain(subject, Load("noop"), count),
    }


def pages(subject: Subject, sizes: Sizes) -> Metrics:
    """The pages of the admin, beside many finished jobs."""
    installation = _installation(subject, "week", sizes.rows)
    times = installation.ask("page-times")
    slowest = max(times, key=lambda name: times[name])
    return {
        **{f"page_{name}": time for name, time in times.items()},
        "page_slowest": times[slowest],
    }


#: By the names that the command line knows, in the order of the table.
WORKLOADS: dict[str, Callable[[Subject, Sizes], Metrics]] = {
    "drain": drain,
    "enqueue": enqueue,
    "bulk": bulk,
    "pickup": pickup,
    "roundtrip": round_trip,
    "naps": naps,
    "crunch": crunch,
    "memory": memory,
    "idle": idle,
    "flat": flat,
    "snapshot": snapshot,
    "schedules": schedules,
    "pages": pages,
}
#: Those that come out the same every time: one round will do.
STEADY = ("memory", "idle")


def _drain(subject: Subject, load: Load, count: int) -> float:
    """Jobs a second, from the first one's run until the last one is settled."""
    subject.clear_proof()
    subject.ask("enqueue", load.body, count)
    with (
        subject.asking("watch", count * len(MARK)) as watch,
        subject.working(load) as worker,
    ):
        seen = watch.answer(worker)
    ran = subject.proof.stat().st_size // len(MARK)
    if seen["settled"] is None:
        raise RunFailed(
            f"{ran} of {count} jobs ran, {seen['unsettled']} stay unsettled; the "
            f"worker's last words: {worker.last_words()}"
        )
    # Not before the worker has ended: it may run jobs twice.
    if ran != count:
        raise RunFailed(f"{count} jobs ran {ran} times")
    return count / ((seen["settled"] - seen["first"]) / 1e9)


def _installation(subject: Subject, kind: str, rows: int) -> Subject:
    """Another installation that holds many rows; it stays for the next round."""
    installation = subject.at(kind)
    mark = installation.folder / "is_filled"
    if not mark.exists():
        installation.start_anew()
        installation.ask(f"add-{kind}", rows)
        mark.touch()
    return installation


def _memory(subject: Subject, load: Load, count: int) -> tuple[float, float]:
    """Megabytes while there is nothing to do, and with the queue full."""
    subject.start_anew()
    with subject.working(load) as worker:
        done = _warm_up(subject, worker)
        idle = worker.memory()
        subject.ask("enqueue", "noop", count)
        loaded = worker.memory()
        subject.wait_for_proof(done + count * len(MARK), worker)
        return idle, max(loaded, worker.memory())


def _warm_up(subject: Subject, worker: Worker) -> int:
    """Run some jobs and let the worker become idle; returns the proof's size."""
    count = min(WARM_UP, subject.facts["jobs"])
    subject.ask("enqueue", "noop", count)
    subject.wait_for_proof(count * len(MARK), worker)
    time.sleep(REST)  # noqa: TID251 (becoming idle is no event)
    return count * len(MARK)


def _in_ms(name: str, seconds: Sequence[float]) -> Metrics:
    percentiles = statistics.quantiles(seconds, n=100, method="inclusive")
    return {
        f"{name}_p50": 1000 * percentiles[49],
        f"{name}_p99": 1000 * percentiles[98],
    }
