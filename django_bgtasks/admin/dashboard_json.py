"""The dashboard for programs. What is in here is documented, and stays."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django_bgtasks.admin.dashboard_figures import Seen
from django_bgtasks.models import Job
from django_bgtasks.store.agenda import Plan
from django_bgtasks.store.failures import Kind
from django_bgtasks.store.overview import QueueState, WorkerState
from django_bgtasks.store.stats import Figures, Times
from django_bgtasks.timing import as_aware

#: What is called otherwise in here than in the store.
_FIELDS = {"failed": "failed_last_hour"}


def as_json(seen: Seen) -> dict[str, Any]:
    """All that the page shows, of plain values."""
    return {
        "now": _time(seen.now),
        "window": seen.wanted.window.name,
        "queue": seen.wanted.queue,
        "problems": list(seen.problems),
        "last_hour": dict(seen.last_hour),
        "queues": _queues(seen),
        "workers": [_worker(worker, seen) for worker in seen.workers],
        "schedules": _schedules(seen),
        "failures": [_kind(kind, seen) for kind in seen.failures.kinds],
        "failures_capped": seen.failures.is_capped,
        "total": _figures(seen.report.total),
        "series": [_figures(step) for step in seen.report.steps],
    }


def _queues(seen: Seen) -> list[dict[str, Any]]:
    figures = {figures.queue: figures for figures in seen.report.queues}
    return [
        {
            "name": name,
            **_state(seen.state_of(name), seen.now),
            "figures": _figures(figures[name]) if name in figures else None,
        }
        for name in seen.queue_names
    ]


def _state(queue: QueueState, now: datetime) -> dict[str, Any]:
    oldest = queue.oldest_due
    return {
        "paused_at": _time(queue.paused_at),
        "resume_at": _time(queue.resume_at),
        "waiting": queue.waiting,
        "oldest_due": _time(oldest),
        "oldest_age": max((now - oldest).total_seconds(), 0) if oldest else None,
        "scheduled": queue.scheduled,
        "running": queue.running,
        "failed_last_hour": queue.failed,
        "capped": [_FIELDS.get(name, name) for name in queue.capped],
    }


def _worker(worker: WorkerState, seen: Seen) -> dict[str, Any]:
    return {
        "id": str(worker.id),
        "hostname": worker.hostname,
        "pid": worker.pid,
        "is_live": worker.is_live,
        "instruction": worker.instruction,
        "queues": list(worker.queues),
        "threads": worker.threads,
        "running": worker.running,
        "jobs": [_job(job) for job in seen.jobs.get(worker.id, ())],
        "memory": worker.memory,
        "version": worker.version,
        "started_at": _time(worker.started_at),
        "heartbeat_at": _time(worker.heartbeat_at),
    }


def _job(job: Job) -> dict[str, Any]:
    progress = job.progress or {}
    return {
        "id": str(job.pk),
        "task": job.task,
        "queue": job.queue,
        "started_at": _time(job.started_at),
        "done": progress.get("done"),
        "total": progress.get("total"),
    }


def _schedules(seen: Seen) -> list[dict[str, Any]]:
    states = {state.name: state for state in seen.overview.schedules}
    return [
        {
            "name": plan.schedule.name,
            "task": plan.schedule.task,
            "next_due": _time(plan.schedule.next_due),
            "paused_at": _time(plan.schedule.paused_at),
            "problem": plan.schedule.problem,
            "is_late": states[plan.schedule.name].is_late,
            **_times_of(plan),
        }
        for plan in seen.agenda.plans
    ]


def _times_of(plan: Plan) -> dict[str, Sequence[Any]]:
    return {
        "ticks": [_time(tick) for tick in plan.ticks],
        "stretches": [[_time(since), _time(until)] for since, until in plan.stretches],
    }


def _kind(kind: Kind, seen: Seen) -> dict[str, Any]:
    return {
        "task": kind.task,
        "exception": kind.exception,
        "count": kind.count,
        "first_at": _time(kind.first_at),
        "last_at": _time(kind.last_at),
        "error": kind.error if seen.shows_arguments else None,
    }


def _figures(figures: Figures) -> dict[str, Any]:
    return {
        "begin": _time(figures.begin),
        "minutes": figures.minutes,
        "successful": figures.successful,
        "failed": figures.failed,
        "cancelled": figures.cancelled,
        "retried": figures.retried,
        "per_minute": figures.per_minute,
        "failure_rate": figures.failure_rate,
        "wait": _times(figures.wait),
        "run": _times(figures.run),
        "waiting": figures.waiting,
    }


def _times(times: Times) -> dict[str, float | None]:
    return {"mean": times.mean, "median": times.median, "p95": times.p95}


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else as_aware(moment).isoformat()
