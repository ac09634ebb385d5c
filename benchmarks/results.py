"""What was measured, by whom and with what: in memory and as a JSON file."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.environments import ROOT


@dataclass(frozen=True)
class Metric:
    """One column of figures.

    Args:
        title: what heads the column.
        unit: what is counted.
    """

    title: str
    unit: str


_PER_SECOND = "jobs/s"

#: In the order of the tables.
METRICS = {
    "drain": Metric("drain", _PER_SECOND),
    "drain_1": Metric("drain, 1 process", _PER_SECOND),
    "drain_2": Metric("drain, 2 processes", _PER_SECOND),
    "enqueue_p50": Metric("enqueue p50", "ms"),
    "enqueue_p99": Metric("enqueue p99", "ms"),
    "bulk": Metric("bulk enqueue", _PER_SECOND),
    "pickup_p50": Metric("pick-up p50", "ms"),
    "pickup_p99": Metric("pick-up p99", "ms"),
    "round_trip_p50": Metric("round trip p50", "ms"),
    "round_trip_p99": Metric("round trip p99", "ms"),
    "naps": Metric("10 ms naps, 20 at once", _PER_SECOND),
    "crunch": Metric("computing, 2 processes", _PER_SECOND),
    "memory_idle_1": Metric("memory idle, 1 process", "MB"),
    "memory_idle_2": Metric("memory idle, 2 processes", "MB"),
    "memory_loaded_1": Metric("memory loaded, 1 process", "MB"),
    "memory_loaded_2": Metric("memory loaded, 2 processes", "MB"),
    "idle_cpu": Metric("CPU when idle", "%"),
    "flat_empty": Metric("drain, no other rows", _PER_SECOND),
    "flat_history": Metric("drain, finished rows", _PER_SECOND),
    "flat_future": Metric("drain, future rows", _PER_SECOND),
    "flat_backlog": Metric("drain, another queue's rows", _PER_SECOND),
    "snapshot_none": Metric("drain, no snapshot", _PER_SECOND),
    "snapshot_held": Metric("drain, old snapshot", _PER_SECOND),
    "tick_p50": Metric("tick to job p50", "ms"),
    "tick_p99": Metric("tick to job p99", "ms"),
    "tick_max": Metric("tick to job, the latest", "ms"),
    "scheduler_idle_cpu": Metric("CPU of an idle scheduler", "%"),
    "page_dashboard": Metric("dashboard", "ms"),
    "page_dashboard_week": Metric("dashboard, 7 days", "ms"),
    "page_jobs": Metric("jobs", "ms"),
    "page_jobs_failed": Metric("jobs, failed", "ms"),
    "page_jobs_successful": Metric("jobs, successful", "ms"),
    "page_jobs_of_task": Metric("jobs of a task", "ms"),
    "page_jobs_of_none": Metric("jobs of a task without jobs", "ms"),
    "page_jobs_of_exception": Metric("jobs by exception", "ms"),
    "page_jobs_by_argument": Metric("jobs by argument, none found", "ms"),
    "page_jobs_by_error": Metric("jobs by error text, none found", "ms"),
    "page_job": Metric("a job", "ms"),
    "page_job_failed": Metric("a failed job", "ms"),
    "page_queues": Metric("queues", "ms"),
    "page_workers": Metric("workers", "ms"),
    "page_schedules": Metric("schedules", "ms"),
    "page_schedule": Metric("a schedule", "ms"),
    "page_slowest": Metric("the slowest page", "ms"),
}


#: Ways to drain: the command the system's documentation suggests, or by processes.
DRAINS = ("drain", "drain_1", "drain_2")


@dataclass
class Results:
    """All figures of a run.

    Args:
        about: the machine, and how it was asked.
        systems: by name, what each is and its versions.
        figures: by system and metric, one for each round.
        failures: what went wrong, in sentences.
        left_out: systems that could not be measured at all, and why.
    """

    about: dict[str, Any]
    systems: dict[str, dict[str, Any]] = field(default_factory=dict)
    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def add(self, system: str, metrics: dict[str, float]) -> None:
        """Add the figures of one more round."""
        for name, value in metrics.items():
            self.figures.setdefault(system, {}).setdefault(name, []).append(value)

    def median(self, system: str, metric: str) -> float | None:
        """The median of the rounds; None if there is none."""
        rounds = self.figures.get(system, {}).get(metric)
        return statistics.median(rounds) if rounds else None

    def spread(self, system: str, metric: str) -> float:
        """Half of what lies between the rounds, as a part of their median."""
        rounds = self.figures[system][metric]
        return (max(rounds) - min(rounds)) / 2 / (statistics.median(rounds) or 1)

    def metrics(self) -> list[str]:
        """Those that somebody has a figure for."""
        known = {name for figures in self.figures.values() for name in figures}
        return [name for name in METRICS if name in known]

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Results:
        return cls(**json.loads(path.read_text()))


def about_this_machine() -> dict[str, Any]:
    """What the figures depend on, besides the systems."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "commit": _commit(),
        "load_before": load_average(),
    }


def load_average() -> float:
    """Of the last minute."""
    return round(os.getloadavg()[0], 2)


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor()
    models = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    return models[0].strip() if models else platform.machine()


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
