"""Why a job is not running, or what it is at. Reads a few rows and writes none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_bgtasks.conf import get_settings
from django_bgtasks.models import Attempt, Job, Queue, Worker
from django_bgtasks.models.job import Status
from django_bgtasks.store import workers
from django_bgtasks.store.counting import count_up_to
from django_bgtasks.store.engines import get_engine
from django_bgtasks.tasks import secrets_of
from django_bgtasks.wording import duration, moment, number_up_to

#: How many of the jobs that stand before another one are counted.
AHEAD_LIMIT = 1000


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What holds a job back, or what it is at.

    Args:
        code: one word for programs, such as "queue_paused".
        text: a sentence for people, in the active language.
        facts: what the sentence says, by names: numbers, texts and datetimes.
        also: what else holds, beginning with what would decide next.
    """

    code: str
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    also: tuple[Explanation, ...] = ()

    def __str__(self) -> str:
        return " ".join([self.text, *(other.text for other in self.also)])


def explain(job: Job, now: datetime | None = None) -> Explanation:
    """Why ``job`` is not running, or what it is at.

    Args:
        job: as its row is.
        now: the time by the database's clock, if it is known.
    """
    now = now or get_engine().now()
    if job.is_finished:
        return _finished(job)
    reasons = _at_work(job, now) if job.status == Status.RUNNING else _held(job, now)
    first, *others = reasons
    return replace(first, also=tuple(others))


# -- at its end


def _finished(job: Job) -> Explanation:
    match job.status:
        case Status.SUCCESSFUL:
            return _successful(job)
        case Status.FAILED:
            return _failed(job)
        case _:
            return _cancelled(job)


def _successful(job: Job) -> Explanation:
    return Explanation(
        code="successful",
        text=_("It succeeded at {time}.").format(time=_time(job.finished_at)),
        facts={"finished_at": job.finished_at},
    )


def _failed(job: Job) -> Explanation:
    text = _("It failed at {time}, in attempt {number} of {allowed}{error}.")
    last = _last_attempt(job)
    return Explanation(
        code="failed",
        text=text.format(
            time=_time(job.finished_at),
            number=job.attempt,
            allowed=job.max_attempts,
            error=_colon(job, last),
        ),
        facts={"finished_at": job.finished_at, "error": _error(job, last)},
    )


def _cancelled(job: Job) -> Explanation:
    by = job.cancel_requested_by
    error = "" if job.cancel_requested_at else _reason_of_its_own(job)
    if job.is_expired:
        text = _(
            "It was cancelled at {time}: no worker had begun it before it expired."
        )
    elif by:
        text = _("It was cancelled at {time} by {by}.")
    elif error:
        text = _("Its task cancelled it at {time}: {error}.")
    else:
        text = _("It was cancelled at {time}.")
    return Explanation(
        code="cancelled",
        text=text.format(time=_time(job.finished_at), by=by, error=_open(error)),
        facts={
            "finished_at": job.finished_at,
            "by": by,
            "error": error,
            "expired": job.is_expired,
        },
    )


def _reason_of_its_own(job: Job) -> str:
    """What its task said when it cancelled the job, if it did."""
    last = _last_attempt(job)
    if last is None or last.ending != Attempt.Ending.CANCELLED:
        return ""
    return _error(job, last)


# -- at work


def _at_work(job: Job, now: datetime) -> Iterator[Explanation]:
    rows = Worker.objects.using(get_engine().alias)
    worker = None if job.worker is None else rows.filter(pk=job.worker).first()
    is_lost = worker is None or not workers.is_live(worker, now)
    if is_lost:
        yield _worker_lost(job, worker, now)
    if job.cancel_requested_at is not None:
        yield _cancel_requested(job)
    if worker is not None and not is_lost:
        yield _running(job, worker, now)


def _running(job: Job, worker: Worker, now: datetime) -> Explanation:
    text = _("Worker {worker} has it since {time}; its last heartbeat was {age} ago.")
    return Explanation(
        code="running",
        text=text.format(
            worker=worker,
            time=_time(job.started_at),
            age=duration(now - worker.heartbeat_at),
        ),
        facts={
            "worker": str(worker),
            "started_at": job.started_at,
            "heartbeat_at": worker.heartbeat_at,
            "lost_at": workers.lost_at(worker),
        },
    )


def _worker_lost(job: Job, worker: Worker | None, now: datetime) -> Explanation:
    if worker is None:
        text = _("Its worker is gone. The next worker that looks takes the job back.")
        return Explanation(
            code="worker_lost", text=text, facts={"worker": str(job.worker)}
        )
    text = _(
        "Its worker, {worker}, has been silent for {age} and counts as dead. The next "
        "worker that looks takes the job back."
    )
    return Explanation(
        code="worker_lost",
        text=text.format(worker=worker, age=duration(now - worker.heartbeat_at)),
        facts={
            "worker": str(worker),
            "heartbeat_at": worker.heartbeat_at,
            "lost_at": workers.lost_at(worker),
        },
    )


def _cancel_requested(job: Job) -> Explanation:
    by = job.cancel_requested_by
    text = _("It was asked to stop at {time} by {by}.")
    if not by:
        text = _("It was asked to stop at {time}.")
    return Explanation(
        code="cancel_requested",
        text=text.format(time=_time(job.cancel_requested_at), by=by),
        facts={"since": job.cancel_requested_at, "by": by},
    )


# -- held back


def _held(job: Job, now: datetime) -> Iterator[Explanation]:
    """What keeps a waiting job from being claimed, what decides first."""
    is_due = job.status == Status.READY or job.run_after is None or job.run_after <= now
    if job.expires_at is not None and job.expires_at <= now:
        yield _expired(job)
    if not is_due and job.unknown_since is None:
        yield _not_due(job, now)
    paused = _pause_of(job.queue)
    if paused is not None:
        yield _queue_paused(paused)
    known = list(Worker.objects.using(get_engine().alias).all())
    live = [worker for worker in known if workers.is_live(worker, now)]
    its_own = [
        worker for worker in live if workers.claims_from(worker.queues, job.queue)
    ]
    takers = [one for one in its_own if workers.is_claiming(one.instruction)]
    if not live:
        yield _none_alive(job, known, now)
    elif not its_own:
        yield _none_for_its_queue(job, live)
    elif not takers:
        yield _none_claims(job, its_own)
    if job.unknown_since is not None:
        yield _task_unknown(job, job.unknown_since)
    if is_due:
        yield _in_line(job, takers)


def _expired(job: Job) -> Explanation:
    return Explanation(
        code="expired",
        text=_("It expired at {time}: no attempt begins any more.").format(
            time=_time(job.expires_at)
        ),
        facts={"expires_at": job.expires_at},
    )


def _not_due(job: Job, now: datetime) -> Explanation:
    """A delay that somebody wanted: who enqueued it, its back-off, or its task."""
    last = _last_attempt(job)
    error = None
    if job.started_at is None:
        code, text = "delayed", _("It is due in {delay}, at {time}.")
    elif last is not None and last.finished_at >= job.started_at:
        code, error = "backing_off", _error(job, last)
        text = _(
            "Attempt {number} of {allowed} did not succeed{error}. The next is due in "
            "{delay}, at {time}."
        )
    else:
        # An attempt that ended without a trace, for it does not count.
        code = "snoozed"
        text = _("Its task asked to be run later: in {delay}, at {time}.")
    due = job.run_after or now
    return Explanation(
        code=code,
        text=text.format(
            delay=duration(due - now),
            time=_time(due),
            number=job.attempt,
            allowed=job.max_attempts,
            error=_colon(job, last),
        ),
        facts={"due": due, **({} if error is None else {"error": error})},
    )


def _pause_of(queue: str) -> Queue | None:
    rows = Queue.objects.using(get_engine().alias)
    return rows.filter(name=queue, paused_at__isnull=False).first()


def _queue_paused(queue: Queue) -> Explanation:
    text = _("Queue {queue} has been paused since {time}.")
    facts = {"queue": queue.name, "since": queue.paused_at}
    if queue.resume_at is not None:
        text = _("Queue {queue} has been paused since {time}, until {end}.")
        facts["until"] = queue.resume_at
    return Explanation(
        code="queue_paused",
        text=text.format(
            queue=queue, time=_time(queue.paused_at), end=_time(queue.resume_at)
        ),
        facts=facts,
    )


def _none_for_its_queue(job: Job, live: list[Worker]) -> Explanation:
    text = ngettext(
        "The one worker that is alive does not work on queue {queue}.",
        "None of the {count} workers that are alive works on queue {queue}.",
        len(live),
    )
    return Explanation(
        code="no_worker",
        text=text.format(queue=job.queue, count=len(live)),
        facts={"queue": job.queue, "live_workers": len(live)},
    )


def _none_claims(job: Job, steered: list[Worker]) -> Explanation:
    text = ngettext(
        "The one worker of queue {queue} was told to claim nothing more.",
        "All {count} workers of queue {queue} were told to claim nothing more.",
        len(steered),
    )
    return Explanation(
        code="workers_quiet",
        text=text.format(queue=job.queue, count=len(steered)),
        facts={"queue": job.queue, "workers": len(steered)},
    )


def _none_alive(job: Job, lost: list[Worker], now: datetime) -> Explanation:
    last = max((worker.heartbeat_at for worker in lost), default=None)
    if last is None:
        text = _("No worker is alive. Start one: manage.py run_tasks.")
    else:
        text = _("No worker is alive; the last was heard of {age} ago.")
        text = text.format(age=duration(now - last))
    return Explanation(
        code="no_worker",
        text=text,
        facts={"queue": job.queue, "live_workers": 0, "last_heartbeat_at": last},
    )


def _task_unknown(job: Job, since: datetime) -> Explanation:
    fails_at = since + get_settings().unknown_task_grace
    text = _(
        "No worker that claimed it has known its task, {task}, since {time}. Unless "
        "one does, it fails at {end}."
    )
    return Explanation(
        code="task_unknown",
        text=text.format(task=job.task, time=_time(since), end=_time(fails_at)),
        facts={"task": job.task, "since": since, "fails_at": fails_at},
    )


def _in_line(job: Job, takers: list[Worker]) -> Explanation:
    ahead = _count_ahead(job)
    busy = _count_running(takers)
    threads = sum(worker.threads for worker in takers)
    if ahead:
        code = "jobs_ahead"
        text = ngettext(
            "{ahead} job of queue {queue} stands before it.",
            "{ahead} jobs of queue {queue} stand before it.",
            ahead,
        )
    else:
        code, text = "next", _("It is the next of queue {queue}.")
    if takers:
        text += " " + _("Jobs that its workers have: {busy}, on {threads} threads.")
    return Explanation(
        code=code,
        text=text.format(
            ahead=number_up_to(AHEAD_LIMIT, ahead),
            queue=job.queue,
            busy=busy,
            threads=threads,
        ),
        facts={"queue": job.queue, "ahead": ahead, "running": busy, "threads": threads},
    )


def _count_ahead(job: Job) -> int:
    """How many are claimed before it; one more than the limit, if there are more.

    Two questions, for each is one stretch of the index of claims. Asked with OR, a
    database reads all of the queue.
    """
    lane = Job.objects.using(get_engine().alias).ready().filter(queue=job.queue)
    urgent = count_up_to(AHEAD_LIMIT, lane.filter(priority__gt=job.priority))
    if urgent > AHEAD_LIMIT:
        return urgent
    older = lane.filter(priority=job.priority, pk__lt=job.pk)
    return urgent + count_up_to(AHEAD_LIMIT - urgent, older)


def _count_running(takers: list[Worker]) -> int:
    rows = Job.objects.using(get_engine().alias)
    ids = [worker.pk for worker in takers]
    return rows.filter(worker__in=ids).count() if ids else 0


# -- words


def _last_attempt(job: Job) -> Attempt | None:
    return job.attempts.using(get_engine().alias).order_by("-id").first()


def _error(job: Job, attempt: Attempt | None) -> str:
    """Its one line, without what is sensitive by today's declaration."""
    if attempt is None:
        return ""
    secrets = secrets_of(job)
    return attempt.error if secrets is None else secrets.mask(attempt.error)


def _colon(job: Job, attempt: Attempt | None) -> str:
    error = _error(job, attempt)
    return f": {_open(error)}" if error else ""


def _open(error: str) -> str:
    """An error to end a sentence with, which has a full stop of its own."""
    return error.rstrip(".")


def _time(value: datetime | None) -> str:
    return "-" if value is None else moment(value)
