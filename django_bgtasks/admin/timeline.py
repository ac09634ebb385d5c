"""What happened to a job, in order, with the time between. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from django.utils.translation import gettext as _

from django_bgtasks.models import Attempt, Job
from django_bgtasks.models.job import Status
from django_bgtasks.wording import duration

Kind = Literal["enqueued", "left_out", "due", "run", "asked", "waiting", "finished"]

NO_TIME = timedelta(0)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that has happened to a job, happens, or is going to.

    Args:
        kind: what it is.
        at: when; None: now, or nobody knows.
        text: what people call it.
        ending: how it ended, if it did.
        wait: how long nothing happened before it, as a text.
        span: how long it took, takes, or is still ahead, as a text.
        note: what else there is to say.
    """

    kind: Kind
    at: datetime | None
    text: str
    ending: Status | Attempt.Ending | None = None
    wait: str = ""
    span: str = ""
    note: str = ""


def timeline(
    job: Job, attempts: Sequence[Attempt], now: datetime, *, is_cut: bool = False
) -> list[Event]:
    """The life of ``job`` so far, and what is known of the rest.

    Args:
        attempts: those that did not succeed, the oldest first.
        now: the time by the database's clock.
        is_cut: whether there were others before ``attempts``.
    """
    between = [
        *_due(job, now),
        *(_attempt(attempt) for attempt in attempts),
        *_last_run(job, attempts, now),
        *_asked(job),
    ]
    # Several hosts' clocks have written these.
    between.sort(key=lambda pair: pair[0].at or now)
    first = [(_enqueued(job), job.enqueued_at)]
    if is_cut:
        text = _("Earlier attempts are left out.")
        first.append(
            (Event(kind="left_out", at=None, text=text), attempts[0].started_at)
        )
    return list(_with_waits([*first, *between, *_end(job, now)], now))


#: An event, and since when nothing has happened after it.
_Ended = tuple[Event, datetime | None]


def _with_waits(events: Sequence[_Ended], now: datetime) -> Iterator[Event]:
    since = events[0][1]
    for event, end in events:
        idle = _idle(event, since, now)
        if idle > NO_TIME:
            yield replace(event, wait=_("waited {time}").format(time=duration(idle)))
        else:
            yield event
        since = since if end is None else end


def _idle(event: Event, since: datetime | None, now: datetime) -> timedelta:
    """How long nothing had happened before ``event``."""
    at = event.at or now
    if since is None or at > now or event.kind in ("asked", "left_out"):
        return NO_TIME
    return at - since


def _enqueued(job: Job) -> Event:
    notes = []
    if job.parent is not None:
        notes.append(_("by job {id}").format(id=job.parent))
    if job.schedule is not None:
        notes.append(_("by schedule {name}").format(name=job.schedule))
    if job.creator is not None:
        notes.append(_("for {creator}").format(creator=job.creator))
    return Event(
        kind="enqueued", at=job.enqueued_at, text=_("Enqueued"), note=", ".join(notes)
    )


def _due(job: Job, now: datetime) -> Iterator[_Ended]:
    due = job.run_after
    if due is None or due <= job.enqueued_at:
        return
    if job.finished_at is not None and due > job.finished_at:
        return
    event = Event(kind="due", at=due, text=_("Due"))
    if due > now:
        yield replace(event, span=_("in {time}").format(time=duration(due - now))), None
    else:
        yield event, due


def _attempt(attempt: Attempt) -> _Ended:
    event = Event(
        kind="run",
        at=attempt.started_at,
        text=_("Attempt {number}").format(number=attempt.number),
        ending=Attempt.Ending(attempt.ending),
        span=_ran(attempt.finished_at - attempt.started_at),
        note=attempt.exception_class_path,
    )
    return event, attempt.finished_at


def _last_run(job: Job, attempts: Sequence[Attempt], now: datetime) -> Iterator[_Ended]:
    """The run that has no row of its own: it succeeded, goes on, or does not count."""
    start = job.started_at
    if start is None or job.is_expired:
        return
    if any(attempt.started_at == start for attempt in attempts):
        return
    event = Event(
        kind="run", at=start, text=_("Attempt {number}").format(number=job.attempt)
    )
    if job.status == Status.RUNNING:
        span = _("running for {time}").format(time=duration(now - start))
        yield replace(event, ending=Status.RUNNING, span=span), now
    elif job.status == Status.SUCCESSFUL and job.finished_at is not None:
        span = _ran(job.finished_at - start)
        yield replace(event, ending=Status.SUCCESSFUL, span=span), job.finished_at
    else:
        # It was handed back, or its task asked to be run later.
        yield replace(event, text=_("A run that does not count")), None


def _ran(time: timedelta) -> str:
    return _("ran {time}").format(time=duration(time))


def _asked(job: Job) -> Iterator[_Ended]:
    asked = job.cancel_requested_at
    # One that waited was cancelled at once, which is its end.
    if asked is None or job.is_expired or asked == job.finished_at:
        return
    event = Event(kind="asked", at=asked, text=_("Asked to stop"), note=_canceller(job))
    yield event, None


def _canceller(job: Job) -> str:
    by = job.cancel_requested_by
    return _("by {name}").format(name=by) if by else ""


def _end(job: Job, now: datetime) -> Iterator[_Ended]:
    if job.finished_at is not None:
        yield _finished(job), None
        return
    is_due = job.run_after is None or job.run_after <= now
    if job.status == Status.READY or (job.status == Status.SCHEDULED and is_due):
        yield Event(kind="waiting", at=None, text=_("Waits for a worker")), None


def _finished(job: Job) -> Event:
    note = ""
    if job.is_expired:
        note = _("It had expired.")
    elif job.cancel_requested_at == job.finished_at:
        note = _canceller(job)
    total = (job.finished_at or job.enqueued_at) - job.enqueued_at
    return Event(
        kind="finished",
        at=job.finished_at,
        text=_("Finished"),
        ending=Status(job.status),
        span=_("{time} after it was enqueued").format(time=duration(total)),
        note=note,
    )
