"""What the dashboard shows, looked up once: for its page, and for its JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.utils.functional import Promise, cached_property
from django.utils.translation import gettext_lazy as _

from django_bgtasks.admin.permissions import VIEW_ARGUMENTS, may
from django_bgtasks.models import Job
from django_bgtasks.store import failures, stats
from django_bgtasks.store.agenda import Agenda, agenda
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.failures import Failures
from django_bgtasks.store.health import Thresholds, complaints
from django_bgtasks.store.overview import (
    Overview,
    QueueState,
    WorkerState,
    overview,
    running_jobs,
)
from django_bgtasks.store.stats import Figures, Report

#: Queues and workers that are listed, and jobs of each worker.
QUEUE_LIMIT = 100
WORKER_LIMIT = 50
JOBS_LIMIT = 4

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Window:
    """A time that charts go back.

    Args:
        name: in addresses.
        title: on the page.
        length: of all of it.
        step: of each of its points.
        per_step: what is counted, on the page.
        refresh: seconds between two looks of somebody who watches.
    """

    name: str
    title: str | Promise
    length: timedelta
    step: timedelta
    per_step: str | Promise
    refresh: int


WINDOWS = {
    window.name: window
    for window in (
        Window(
            name="1h",
            title=_("1 hour"),
            length=HOUR,
            step=MINUTE,
            per_step=_("Jobs per minute"),
            refresh=3,
        ),
        Window(
            name="24h",
            title=_("24 hours"),
            length=24 * HOUR,
            step=15 * MINUTE,
            per_step=_("Jobs per 15 minutes"),
            refresh=5,
        ),
        Window(
            name="7d",
            title=_("7 days"),
            length=7 * 24 * HOUR,
            step=2 * HOUR,
            per_step=_("Jobs per 2 hours"),
            refresh=10,
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What somebody wants to see.

    Args:
        window: how far charts go back.
        queue: which queue they are of; None: all together.
    """

    window: Window
    queue: str | None


@dataclass(frozen=True, kw_only=True)
class Seen:
    """All that there is to show.

    Args:
        now: the moment, by the database's clock.
        wanted: what was asked for.
        overview: queues, workers, and the schedules of the agenda.
        problems: what is wrong, as sentences.
        report: the figures of the window.
        last_hour: how many jobs ended how.
        jobs: what workers are at, those that are listed.
        agenda: the next 24 hours.
        failures: those of the last 24 hours.
        has_jobs: whether there has ever been a job.
        shows_arguments: whether who looks may see what jobs are given and what they say.
    """

    now: datetime
    wanted: Wanted
    overview: Overview
    problems: Sequence[str]
    report: Report
    last_hour: Mapping[str, int]
    jobs: Mapping[UUID, Sequence[Job]]
    agenda: Agenda
    failures: Failures
    has_jobs: bool
    shows_arguments: bool

    @property
    def workers(self) -> tuple[WorkerState, ...]:
        """Those that are listed."""
        return self.overview.workers[:WORKER_LIMIT]

    @property
    def all_queue_names(self) -> list[str]:
        """Of the queues that have jobs or a row, or had some in the window."""
        names = {queue.name for queue in self.overview.queues}
        return sorted(names.union(figures.queue for figures in self.report.queues))

    @property
    def queue_names(self) -> list[str]:
        """Those that are listed."""
        return self.all_queue_names[:QUEUE_LIMIT]

    @property
    def running_step(self) -> Figures | None:
        """The last one, if it is not over: of what ends in it, not all is written."""
        last = self.report.steps[-1]
        return last if last.begin + self.wanted.window.step > self.now else None

    def state_of(self, name: str) -> QueueState:
        """A queue as it is; of one without jobs and row, that it has none."""
        return self._states.get(name) or QueueState(
            name=name,
            paused_at=None,
            resume_at=None,
            waiting=0,
            oldest_due=None,
            scheduled=0,
            running=0,
            failed=0,
            capped=(),
        )

    @cached_property
    def _states(self) -> dict[str, QueueState]:
        return {queue.name: queue for queue in self.overview.queues}


def wanted(parameters: Mapping[str, Any]) -> Wanted:
    """What the parameters of an address ask for.

    Raises:
        ValueError: they cannot be understood.
    """
    name = parameters.get("window", "1h")
    if name not in WINDOWS:
        known = ", ".join(WINDOWS)
        raise ValueError(f"window is {name!r}; it must be one of {known}")
    unknown = set(parameters) - {"window", "queue"}
    if unknown:
        raise ValueError(
            f"there is no parameter {min(unknown)!r}; window and queue are"
        )
    return Wanted(window=WINDOWS[name], queue=parameters.get("queue") or None)


def look(request: HttpRequest, wanted: Wanted) -> Seen:
    """Look everything up, in a number of queries that does not depend on what is found."""
    now = get_engine().now()
    planned = agenda(now)
    found = overview(now, schedules=[plan.schedule for plan in planned.plans])
    listed = [worker.id for worker in found.workers[:WORKER_LIMIT]]
    return Seen(
        now=now,
        wanted=wanted,
        overview=found,
        problems=complaints(found, Thresholds()),
        report=_report(wanted, now),
        last_hour=stats.totals(now - HOUR, now),
        jobs=running_jobs(listed, JOBS_LIMIT),
        agenda=planned,
        failures=failures.recent(now),
        has_jobs=Job.objects.using(get_engine().alias).exists(),
        shows_arguments=may(request, VIEW_ARGUMENTS),
    )


def _report(wanted: Wanted, now: datetime) -> Report:
    """Up to now: to somebody who has just begun, it is the last minute that matters."""
    window = wanted.window
    last = _floor(now - timedelta.resolution, window.step)
    since = last - window.length + window.step
    return stats.report(since, now, window.step, wanted.queue)


def _floor(moment: datetime, step: timedelta) -> datetime:
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (moment - midnight) // step * step
