"""What the dashboard's page says: figures as words, addresses and drawings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin.utils import quote
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_bgtasks.admin.dashboard_drawing import axis, place, spark, width
from django_bgtasks.admin.dashboard_figures import (
    QUEUE_LIMIT,
    WINDOWS,
    WORKER_LIMIT,
    Seen,
)
from django_bgtasks.admin.display import (
    NOTHING,
    badge,
    masked,
    recent_moment,
    worker_badge,
)
from django_bgtasks.admin.permissions import RETRY, may
from django_bgtasks.models import Job
from django_bgtasks.store.agenda import COUNT_LIMIT, LIMIT, Agenda, Plan
from django_bgtasks.store.failures import Kind
from django_bgtasks.store.overview import QueueState, ScheduleState, WorkerState
from django_bgtasks.store.stats import Figures, Times
from django_bgtasks.tasks import secrets_of
from django_bgtasks.timing import as_aware
from django_bgtasks.wording import as_local, duration, interval


def page(seen: Seen, request: HttpRequest) -> dict[str, Any]:
    """All that the template needs."""
    links = _Links(request)
    return {
        "as_of": as_local(seen.now),
        "health": _health(seen),
        "is_new": not (seen.has_jobs or seen.overview.workers or seen.report.queues),
        "tiles": list(_tiles(seen, links)),
        "windows": list(_windows(seen)),
        "window": seen.wanted.window,
        "queue": seen.wanted.queue,
        "queue_choices": seen.queue_names,
        "refresh": seen.wanted.window.refresh,
        "chart": chart(seen),
        "is_grouped": not _number(1000).isdigit(),
        "zone": timezone.get_current_timezone_name(),
        "steps": list(_steps(seen)),
        "queues": list(_queues(seen, links)),
        "more_queues": _number_beyond(QUEUE_LIMIT, len(seen.all_queue_names)),
        "workers": list(_workers(seen, links)),
        "more_workers": _number_beyond(WORKER_LIMIT, len(seen.overview.workers)),
        "kinds": list(_kinds(seen, links)),
        "may_retry": may(request, RETRY),
        "axis": list(axis(seen.agenda)),
        "plans": list(_plans(seen, links)),
        "more_schedules": _number_beyond(LIMIT, seen.agenda.total),
        "schedules_url": links.of_list("schedule"),
        "workers_url": links.of_list("worker"),
    }


class _Links:
    """Addresses of pages that who looks may see."""

    def __init__(self, request: HttpRequest) -> None:
        self._may_view = {
            model: may(request, f"view_{model}") for model in ("worker", "schedule")
        }

    def jobs(self, **filters: str) -> str:
        address = reverse("admin:django_bgtasks_job_changelist")
        return f"{address}?{urlencode(filters)}"

    def job(self, job: Job) -> str:
        return reverse("admin:django_bgtasks_job_change", args=[job.pk])

    def of_list(self, model: str) -> str:
        if not self._may_view[model]:
            return ""
        return reverse(f"admin:django_bgtasks_{model}_changelist")

    def of(self, model: str, key: Any) -> str:
        if not self._may_view[model]:
            return ""
        return reverse(f"admin:django_bgtasks_{model}_change", args=[quote(key)])


# -- at a glance


def _health(seen: Seen) -> dict[str, Any]:
    if seen.problems:
        text = ngettext(
            "One thing is wrong", "{count} things are wrong", len(seen.problems)
        )
        title = text.format(count=len(seen.problems))
        return {"kind": "bad", "title": title, "problems": seen.problems}
    if not _live(seen):
        title = _("No worker is running. Start one: manage.py run_tasks")
        return {"kind": "idle", "title": title}
    return {"kind": "good", "title": _("All is well")}


def _tiles(seen: Seen, links: _Links) -> Iterator[dict[str, Any]]:
    queues = seen.overview.queues
    oldest = min((q.oldest_due for q in queues if q.oldest_due), default=None)
    later = sum(queue.scheduled for queue in queues)
    yield {
        "id": "waiting",
        "title": _("Waiting"),
        "value": _capped_sum(queues, "waiting"),
        "note": (
            _("the oldest for {age}").format(age=_whole_seconds(seen.now - oldest))
            if oldest
            else _("nothing is due")
        ),
        "second_note": (
            _("{count} scheduled").format(count=_capped_sum(queues, "scheduled"))
            if later
            else ""
        ),
        "url": links.jobs(status="READY"),
    }
    threads = sum(worker.threads for worker in _live(seen))
    text = ngettext("on {count} thread", "on {count} threads", threads)
    yield {
        "id": "running",
        "title": _("Running"),
        "value": _number(sum(queue.running for queue in queues)),
        "note": text.format(count=_number(threads)),
        "url": links.jobs(status="RUNNING"),
    }
    ended = seen.last_hour
    finished = ended["successful"] + ended["failed"] + ended["cancelled"]
    yield {
        "id": "finished",
        "title": _("Finished, last hour"),
        "value": _number(finished),
        "note": _("{count} per minute").format(count=_rate(finished / 60)),
        "url": links.jobs(status="SUCCESSFUL"),
    }
    tried = ended["successful"] + ended["failed"]
    yield {
        "id": "failed",
        "title": _("Failed, last hour"),
        "value": _number(ended["failed"]),
        "note": (
            _("{share} of those that ran").format(share=_share(ended["failed"] / tried))
            if tried
            else ""
        ),
        "second_note": (
            _("{count} tried again").format(count=_number(ended["retried"]))
            if ended["retried"]
            else ""
        ),
        "is_bad": ended["failed"] > 0,
        "url": links.jobs(status="FAILED"),
    }
    lost = len(seen.overview.workers) - len(_live(seen))
    yield {
        "id": "workers",
        "title": _("Live workers"),
        "value": _number(len(_live(seen))),
        "note": _("{count} lost").format(count=lost) if lost else "",
        "is_bad": lost > 0,
        "url": "#bgtasks-workers",
    }


def _live(seen: Seen) -> list[WorkerState]:
    return [worker for worker in seen.overview.workers if worker.is_live]


def _capped_sum(queues: Iterable[QueueState], name: str) -> str:
    known = list(queues)
    plus = "+" if any(name in queue.capped for queue in known) else ""
    return _number(sum(getattr(queue, name) for queue in known)) + plus


# -- charts


def _windows(seen: Seen) -> Iterator[dict[str, Any]]:
    for window in WINDOWS.values():
        asked = {"window": window.name, "queue": seen.wanted.queue or ""}
        yield {
            "title": window.title,
            "query": urlencode({name: value for name, value in asked.items() if value}),
            "is_chosen": window is seen.wanted.window,
        }


def chart(seen: Seen) -> dict[str, Any]:
    """The numbers of the charts, column by column, and a sentence about each."""
    steps = seen.report.steps
    running = seen.running_step
    return {
        "begin": [_seconds(step) for step in steps],
        "running": running
        and {"begin": _seconds(running), "time": _when(running, seen)},
        **{
            name: [getattr(step, name) for step in steps]
            for name in ("successful", "failed", "cancelled", "retried", "waiting")
        },
        "wait_median": [step.wait.median for step in steps],
        "wait_p95": [step.wait.p95 for step in steps],
        "run_median": [step.run.median for step in steps],
        "run_p95": [step.run.p95 for step in steps],
        "labels": _gists(seen.report.total, seen.wanted.window.title),
    }


def _seconds(step: Figures) -> int:
    return int(as_aware(step.begin).timestamp())


def _when(step: Figures, seen: Seen) -> str:
    days = seen.wanted.window.length > timedelta(days=1)
    time = date_format(as_local(step.begin), "D H:i" if days else "H:i")
    is_running = step is seen.running_step
    return _("{time}, so far").format(time=time) if is_running else time


def _gists(total: Figures, window: Any) -> dict[str, str]:
    ended = _(
        "Chart of the last {window}. Successful: {successful}, failed: {failed}, "
        "cancelled: {cancelled}, tried again: {retried}."
    )
    times = _(
        "Chart of the last {window}. Half of the jobs waited for less than {wait} and ran "
        "for less than {run}; 95 % waited for less than {wait95} and ran for less than "
        "{run95}."
    )
    waiting = _("Chart of the last {window}. At the most, {count} jobs waited.")
    return {
        "throughput": ended.format(
            window=window,
            successful=_number(total.successful),
            failed=_number(total.failed),
            cancelled=_number(total.cancelled),
            retried=_number(total.retried),
        ),
        "latency": times.format(
            window=window,
            wait=span(total.wait.median),
            run=span(total.run.median),
            wait95=span(total.wait.p95),
            run95=span(total.run.p95),
        ),
        "backlog": waiting.format(window=window, count=_number(total.waiting)),
    }


def _steps(seen: Seen) -> Iterator[dict[str, Any]]:
    """The rows of the table that says what the charts show, the newest first."""
    for step in reversed(seen.report.steps):
        yield {
            "begin": as_local(step.begin).isoformat(),
            "time": _when(step, seen),
            "numbers": [
                _number(number)
                for number in (
                    step.successful,
                    step.failed,
                    step.cancelled,
                    step.retried,
                )
            ],
            "times": [
                *(span(step.wait.median), span(step.wait.p95)),
                *(span(step.run.median), span(step.run.p95)),
            ],
            "waiting": _number(step.waiting),
        }


# -- queues


def _queues(seen: Seen, links: _Links) -> Iterator[dict[str, Any]]:
    figures = {figures.queue: figures for figures in seen.report.queues}
    for name in seen.queue_names:
        numbers = seen.report.finished.get(name, ())
        if seen.running_step is not None:
            # Else each line would end in a fall.
            numbers = numbers[:-1]
        yield {
            "name": name,
            "url": links.jobs(queue=name),
            "spark": spark(numbers) if any(numbers) else "",
            "spark_width": len(numbers) - 1,
            **_queue_state(seen.state_of(name), seen.now),
            **_queue_figures(figures.get(name)),
        }


def _queue_state(queue: QueueState, now: datetime) -> dict[str, Any]:
    return {
        "paused": queue.paused_at and badge("paused", _("Paused")),
        "paused_note": _paused_note(queue),
        "waiting": _capped_sum([queue], "waiting"),
        "scheduled": _capped_sum([queue], "scheduled"),
        "running": _number(queue.running),
        "oldest": (
            _whole_seconds(now - queue.oldest_due) if queue.oldest_due else NOTHING
        ),
    }


def _paused_note(queue: QueueState) -> str:
    if queue.paused_at is None or queue.resume_at is None:
        return ""
    return _("until {time}").format(time=_clock(queue.resume_at))


def _queue_figures(figures: Figures | None) -> dict[str, Any]:
    if figures is None:
        nothing = {"median": NOTHING, "p95": NOTHING}
        return {"rate": "0", "failure": NOTHING, "wait": nothing, "run": nothing}
    return {
        "rate": _rate(figures.per_minute),
        "failure": _share(figures.failure_rate),
        "fails": bool(figures.failed),
        "wait": _times(figures.wait),
        "run": _times(figures.run),
    }


def _times(times: Times) -> dict[str, str]:
    return {"median": span(times.median), "p95": span(times.p95)}


# -- workers


def _workers(seen: Seen, links: _Links) -> Iterator[dict[str, Any]]:
    versions = {worker.version for worker in _live(seen) if worker.version}
    for worker in seen.workers:
        busy = min(worker.running, worker.threads)
        jobs = [_job(job, seen, links) for job in seen.jobs.get(worker.id, ())]
        yield {
            "name": f"{worker.hostname}:{worker.pid}",
            "url": links.of("worker", worker.id),
            "state": worker_badge(is_live=worker.is_live, told=worker.instruction),
            "queues": ", ".join(worker.queues) or _("all"),
            "jobs": jobs,
            "more_jobs": _number_beyond(len(jobs), worker.running),
            "busy": busy,
            "threads": worker.threads,
            "busy_text": _("{busy} of {threads}").format(
                busy=busy, threads=worker.threads
            ),
            "memory": NOTHING if worker.memory is None else _size(worker.memory),
            "uptime": duration(seen.now - worker.started_at),
            "heartbeat": _("{time} ago").format(
                time=_whole_seconds(seen.now - worker.heartbeat_at)
            ),
            "version": worker.version or NOTHING,
            "differs": len(versions) > 1 and bool(worker.version),
        }


def _job(job: Job, seen: Seen, links: _Links) -> dict[str, Any]:
    progress = job.progress or {}
    done, total = progress.get("done"), progress.get("total")
    message = progress.get("message") or ""
    if message and seen.shows_arguments:
        message = masked(message, secrets_of(job))
    since = job.started_at and seen.now - job.started_at
    return {
        "task": job.task,
        "url": links.job(job),
        "since": _whole_seconds(since) if since else "",
        "done": done,
        "total": total if done is not None else None,
        "message": message if seen.shows_arguments else "",
    }


# -- failures


def _kinds(seen: Seen, links: _Links) -> Iterator[dict[str, Any]]:
    plus = "+" if seen.failures.is_capped else ""
    for kind in seen.failures.kinds:
        yield {
            "key": kind_key(kind),
            "task": kind.task,
            "exception": kind.exception,
            "exception_name": kind.exception.rpartition(".")[2] or _("no exception"),
            "count": _number(kind.count) + plus,
            "first": recent_moment(kind.first_at),
            "last": recent_moment(kind.last_at),
            "error": kind.error if seen.shows_arguments else "",
            "url": links.jobs(
                status="FAILED", task=kind.task, exception=kind.exception
            ),
        }


def kind_key(kind: Kind) -> str:
    """What the button of a kind posts. An exception's path has no spaces."""
    return f"{kind.exception} {kind.task}"


# -- schedules


def _plans(seen: Seen, links: _Links) -> Iterator[dict[str, Any]]:
    states = {state.name: state for state in seen.overview.schedules}
    for plan in seen.agenda.plans:
        row = plan.schedule
        yield {
            "name": row.name,
            "url": links.of("schedule", row.pk),
            "rule": _rule(plan),
            "state": _schedule_state(states[row.name]),
            "problem": row.problem,
            "next": _clock(row.next_due) if row.next_due else "",
            "marks": [
                {"x": place(seen.agenda, tick), "time": _clock(tick)}
                for tick in plan.ticks
            ],
            "bands": [
                {
                    "x": place(seen.agenda, since),
                    "width": width(seen.agenda, max(since, seen.agenda.begin), until),
                }
                for since, until in plan.stretches
            ],
            "text": _in_words(plan, seen.agenda),
        }


def _rule(plan: Plan) -> str:
    row = plan.schedule
    if row.cron:
        return row.cron
    if row.every is not None:
        return _("every {interval}").format(interval=interval(row.every))
    return _("once")


def _schedule_state(state: ScheduleState) -> str:
    if state.problem:
        return badge("problem", _("Problem"))
    if state.paused_at is not None:
        return badge("paused", _("Paused"))
    return badge("problem", _("Late")) if state.is_late else ""


def _in_words(plan: Plan, agenda: Agenda) -> str:
    """For those who do not see the marks."""
    if plan.stretches:
        text = _("time and again from {begin} to {end}")
        return "; ".join(
            text.format(begin=_clock(since), end=_clock(until))
            for since, until in plan.stretches
        )
    return ", ".join(_clock(tick) for tick in plan.ticks) or _("no run")


# -- words


def span(seconds: float | None) -> str:
    """A measured time, if there is one."""
    return NOTHING if seconds is None else duration(timedelta(seconds=seconds))


def _whole_seconds(value: timedelta) -> str:
    """A span of time that nobody needs to know to the tenth of a second."""
    seconds = int(max(value.total_seconds(), 0))
    if seconds < 60:
        return _("{seconds} s").format(seconds=seconds)
    return duration(timedelta(seconds=seconds))


def _clock(value: datetime) -> str:
    """A time of these days: with the weekday, unless it is today."""
    local = as_local(value)
    is_today = local.date() == as_local(timezone.now()).date()
    return date_format(local, "H:i" if is_today else "D H:i")


def _number(value: int | None) -> str:
    return NOTHING if value is None else number_format(value, force_grouping=True)


def _rate(value: float) -> str:
    if 0 < value < 0.1:
        return f"< {number_format(0.1, 1)}"
    places = 1 if 0 < value < 10 else 0
    return number_format(round(value, places), places, force_grouping=True)


def _share(value: float | None) -> str:
    if value is None:
        return NOTHING
    if 0 < value < 0.0005:
        return _("< {number} %").format(number=number_format(0.1, 1))
    return _("{number} %").format(number=number_format(value * 100, 1 if value else 0))


def _size(value: int) -> str:
    return filesizeformat(value)


def _number_beyond(shown: int, all_there_are: int) -> str:
    """How many are not shown, as text; empty if all are."""
    if all_there_are <= shown:
        return ""
    plus = "+" if all_there_are > COUNT_LIMIT else ""
    return _number(all_there_are - shown) + plus


def table_headings() -> Sequence[str]:
    """Of the table that says what the charts show."""
    return (
        _("time"),
        _("successful"),
        _("failed"),
        _("cancelled"),
        _("tried again"),
        _("wait, median"),
        _("wait, 95 %"),
        _("run, median"),
        _("run, 95 %"),
        _("waiting"),
    )
