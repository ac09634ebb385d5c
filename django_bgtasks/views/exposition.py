"""What an overview and statistics show, in Prometheus' words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version

import django
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from django_bgtasks.store import stats
from django_bgtasks.store.overview import (
    Overview,
    QueueState,
    ScheduleState,
    WorkerState,
    overview,
)
from django_bgtasks.store.stats import Figures, Times

#: Queues that have series of their own. Whoever makes a queue for each customer must
#: not flood whoever keeps the figures.
QUEUE_LIMIT = 100
#: How far back it counts what has ended.
WINDOWS = {"5m": timedelta(minutes=5), "1h": timedelta(hours=1)}


def exposed(accept: str) -> tuple[bytes, str]:
    """All figures as they are now, and their content type.

    Args:
        accept: the header that says which format is wanted.
    """
    registry = CollectorRegistry()
    registry.register(_Figures())
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Figures(Collector):
    """Looks once, when it is asked; keeps nothing."""

    def collect(self) -> Iterable[Metric]:
        seen = overview()
        ended = {
            window: stats.summary(seen.now - age, seen.now)
            for window, age in WINDOWS.items()
        }
        queues = _busiest(seen.queues)
        yield from _about_build()
        yield from _about_queues(queues, seen)
        yield from _about_workers(seen.workers)
        yield from _about_schedules(seen.schedules)
        yield from _about_ended(ended)


def _about_build() -> Iterator[Metric]:
    try:
        ours = version("django-bgtasks")
    except PackageNotFoundError:
        # From a checkout that nobody has installed.
        ours = "unknown"
    labels = {"version": ours, "django_version": django.get_version()}
    yield InfoMetricFamily("bgtasks_build", "What answers.", labels)


# -- queues


def _busiest(queues: Sequence[QueueState]) -> Sequence[QueueState]:
    def jobs(queue: QueueState) -> int:
        return queue.waiting + queue.running + queue.scheduled

    return sorted(queues, key=jobs, reverse=True)[:QUEUE_LIMIT]


def _about_queues(queues: Sequence[QueueState], seen: Overview) -> Iterator[Metric]:
    numbers = {
        "waiting": "Jobs that are due and that no worker has, up to 10,000.",
        "scheduled": "Jobs whose time has not come, up to 10,000.",
        "running": "Jobs that workers have.",
    }
    for name, text in numbers.items():
        values = {queue.name: getattr(queue, name) for queue in queues}
        yield _by_queue(f"bgtasks_jobs_{name}", text, values)
    yield _by_queue(
        "bgtasks_oldest_due_job_age_seconds",
        "How long the oldest due job has waited.",
        {
            queue.name: (seen.now - (queue.oldest_due or seen.now)).total_seconds()
            for queue in queues
        },
    )
    yield _by_queue(
        "bgtasks_queue_paused",
        "Whether the queue is paused.",
        {queue.name: queue.paused_at is not None for queue in queues},
    )
    yield _total("bgtasks_queues", "Queues, those without series too.", seen.queues)


def _by_queue(name: str, text: str, values: dict[str, float]) -> Metric:
    metric = GaugeMetricFamily(name, text, labels=["queue"])
    for queue, value in values.items():
        metric.add_metric([queue], max(value, 0))
    return metric


def _total(name: str, text: str, things: Sequence[object]) -> Metric:
    return GaugeMetricFamily(name, text, value=len(things))


# -- workers


def _about_workers(workers: Sequence[WorkerState]) -> Iterator[Metric]:
    live = [worker for worker in workers if worker.is_live]
    states = {"live": len(live), "lost": len(workers) - len(live)}
    yield _by_state("bgtasks_workers", "Workers by whether they beat.", states)
    yield GaugeMetricFamily(
        "bgtasks_worker_threads",
        "Jobs that live workers can run at the same time.",
        value=sum(worker.threads for worker in live),
    )
    yield GaugeMetricFamily(
        "bgtasks_worker_memory_bytes",
        "What live workers hold together, as of their last heartbeats.",
        value=sum(worker.memory or 0 for worker in live),
    )


# -- schedules


def _about_schedules(schedules: Sequence[ScheduleState]) -> Iterator[Metric]:
    yield _total("bgtasks_schedules", "Schedules of periodic jobs.", schedules)
    yield GaugeMetricFamily(
        "bgtasks_schedules_late",
        "Schedules that no scheduler has heeded when they were due.",
        value=sum(schedule.is_late for schedule in schedules),
    )
    yield GaugeMetricFamily(
        "bgtasks_schedules_with_problems",
        "Schedules that cannot enqueue anything.",
        value=sum(schedule.problem != "" for schedule in schedules),
    )


def _by_state(name: str, text: str, states: dict[str, int]) -> Metric:
    metric = GaugeMetricFamily(name, text, labels=["state"])
    for state, number in states.items():
        metric.add_metric([state], number)
    return metric


# -- what has ended


def _about_ended(ended: dict[str, list[Figures]]) -> Iterator[Metric]:
    number = GaugeMetricFamily(
        "bgtasks_jobs_finished",
        "Jobs that came to an end within the window, by outcome.",
        labels=["queue", "window", "outcome"],
    )
    retried = GaugeMetricFamily(
        "bgtasks_attempts_retried",
        "Attempts that failed within the window, of jobs that are tried again.",
        labels=["queue", "window"],
    )
    waits = _times("bgtasks_job_wait_seconds", "How long jobs waited to be run.")
    runs = _times("bgtasks_job_run_seconds", "How long attempts took.")
    for window, of_queues in ended.items():
        for figures in _most(of_queues):
            place = [figures.queue, window]
            for outcome in ("successful", "failed", "cancelled"):
                number.add_metric([*place, outcome], getattr(figures, outcome))
            retried.add_metric(place, figures.retried)
            _add_times(waits, place, figures.wait)
            _add_times(runs, place, figures.run)
    yield from (number, retried, waits, runs)


def _most(of_queues: Sequence[Figures]) -> Sequence[Figures]:
    def finished(figures: Figures) -> int:
        return figures.finished

    return sorted(of_queues, key=finished, reverse=True)[:QUEUE_LIMIT]


def _times(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=["queue", "window", "quantile"])


def _add_times(metric: GaugeMetricFamily, place: list[str], times: Times) -> None:
    for quantile, seconds in (("0.5", times.median), ("0.95", times.p95)):
        if seconds is not None:
            metric.add_metric([*place, quantile], seconds)
