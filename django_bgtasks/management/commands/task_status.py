from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from threading import Event
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.db import Error as DatabaseTrouble

from django_bgtasks.management.migrated import MigratedCommand
from django_bgtasks.management.options import interval, seconds, whole_number
from django_bgtasks.management.tables import aligned
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.health import Thresholds, complaints
from django_bgtasks.store.overview import (
    Overview,
    QueueState,
    ScheduleState,
    WorkerState,
    overview,
)
from django_bgtasks.wording import duration, moment

#: Seconds between two looks with --watch.
WATCH_INTERVAL = 2.0
#: Schedules that are listed: those in trouble, paused ones, those that are due next.
SCHEDULE_LIMIT = 20
#: The terminal's cursor to its first line, and all below it away.
CLEAR = "\x1b[H\x1b[J"

#: What --check ends with.
WRONG, UNKNOWN = 1, 2

_QUEUE_HEADINGS = (
    "queue", "state", "waiting", "oldest", "scheduled", "running", "failed (1 h)",
)  # fmt: skip
_WORKER_HEADINGS = ("worker", "state", "queues", "jobs", "threads", "heartbeat")
_SCHEDULE_HEADINGS = ("schedule", "state", "next run")


class Command(MigratedCommand):
    help = (
        "Show queues, workers and schedules as they are now; or, with --check, whether "
        "all is well."
    )

    # Some of them ask the database, which may be what is wrong; and a probe is not for
    # what is wrong with the code.
    requires_system_checks = ()
    #: How --watch waits. A parameter for tests.
    wait: Callable[[float], object] = Event().wait

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print JSON.")
        parser.add_argument(
            "--watch",
            nargs="?",
            type=interval,
            const=WATCH_INTERVAL,
            metavar="SECONDS",
            help="Look again every so many seconds (default: 2), until Ctrl-C.",
        )
        parser.add_argument(
            "--check",
            action="store_true",
            help="Say what is wrong. Exit codes: 0, all is well; 1, something is wrong; "
            "2, the database cannot be asked. Wrong is always: jobs wait on a queue on "
            "which no live worker works; a schedule has a problem or is late.",
        )
        group = parser.add_argument_group("what else is wrong, with --check")
        group.add_argument(
            "--max-age",
            type=seconds,
            metavar="SECONDS",
            help="A job that is due has waited for longer.",
        )
        group.add_argument(
            "--max-waiting",
            type=whole_number,
            metavar="N",
            help="More jobs that are due wait on a queue.",
        )
        group.add_argument(
            "--max-failed",
            type=whole_number,
            metavar="N",
            help="More jobs of a queue have failed within the last hour.",
        )
        group.add_argument(
            "--min-workers",
            type=whole_number,
            metavar="N",
            help="Fewer workers are live.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        thresholds = Thresholds(
            **{name: options[name] for name in Thresholds.__dataclass_fields__}
        )
        if thresholds != Thresholds() and not options["check"]:
            raise CommandError("What is wrong is for --check to say: add it.")
        if options["watch"] is not None and (options["check"] or options["json"]):
            raise CommandError("--watch goes neither with --check nor with --json.")
        if options["check"]:
            self._check(thresholds, as_json=options["json"])
        elif options["watch"] is not None:
            self._watch(options["watch"])
        elif options["json"]:
            self._write_json(asdict(overview()))
        else:
            self._write(overview())

    def _check(self, thresholds: Thresholds, *, as_json: bool) -> None:
        try:
            seen = overview(limit=thresholds.count_limit)
        except DatabaseTrouble as error:
            self.stdout.write(f"The database cannot be asked: {error}")
            sys.exit(UNKNOWN)
        problems = complaints(seen, thresholds)
        if as_json:
            self._write_json({"problems": problems, **asdict(seen)})
        else:
            for line in problems or ["All is well."]:
                self.stdout.write(line)
        if problems:
            sys.exit(WRONG)

    def _watch(self, every: float) -> None:
        with suppress(KeyboardInterrupt):
            while True:
                self._look()
                self.wait(every)

    def _look(self) -> None:
        try:
            seen = overview()
        except DatabaseTrouble as error:
            # It may be back the next time, on another connection.
            get_engine().connection.close_if_unusable_or_obsolete()
            self.stdout.write(f"The database cannot be asked: {error}")
            return
        # Only now, so that the last figures stay as long as there are no others.
        if self.stdout.isatty():
            self.stdout.write(CLEAR, ending="")
        self._write(seen)

    def _write(self, seen: Overview) -> None:
        self.stdout.write("\n".join(_lines(seen)))

    def _write_json(self, value: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(value, indent=2, cls=DjangoJSONEncoder))


def _lines(seen: Overview) -> Iterator[str]:
    yield moment(seen.now)
    yield ""
    yield from _queue_lines(seen)
    yield ""
    yield from _worker_lines(seen)
    if seen.schedules:
        yield ""
        yield from _schedule_lines(seen)


def _queue_lines(seen: Overview) -> Iterable[str]:
    if not seen.queues:
        return ["No queue has jobs that wait or run."]
    rows = [_queue_cells(queue, seen.now) for queue in seen.queues]
    return aligned([_QUEUE_HEADINGS, *rows], left=2)


def _worker_lines(seen: Overview) -> Iterable[str]:
    if not seen.workers:
        return ["No worker is alive."]
    rows = [_worker_cells(worker, seen.now) for worker in seen.workers]
    return aligned([_WORKER_HEADINGS, *rows], left=3)


def _queue_cells(queue: QueueState, now: datetime) -> Sequence[str]:
    return (
        queue.name,
        "" if queue.paused_at is None else "paused",
        _number(queue, "waiting"),
        "-" if queue.oldest_due is None else duration(now - queue.oldest_due),
        _number(queue, "scheduled"),
        _number(queue, "running"),
        _number(queue, "failed"),
    )


def _number(queue: QueueState, name: str) -> str:
    return f"{getattr(queue, name):,}{'+' if name in queue.capped else ''}"


def _worker_cells(worker: WorkerState, now: datetime) -> Sequence[str]:
    return (
        f"{worker.hostname}:{worker.pid}",
        "live" if worker.is_live else "lost",
        ", ".join(worker.queues) or "all",
        str(worker.running),
        str(worker.threads),
        f"{duration(now - worker.heartbeat_at)} ago",
    )


def _schedule_lines(seen: Overview) -> Iterator[str]:
    first = sorted(seen.schedules, key=_urgency)
    rows = [_schedule_cells(one, seen.now) for one in first[:SCHEDULE_LIMIT]]
    yield from aligned([_SCHEDULE_HEADINGS, *rows], left=3)
    if len(first) > SCHEDULE_LIMIT:
        yield f"... and {len(first) - SCHEDULE_LIMIT:,} more"
    for one in first[:SCHEDULE_LIMIT]:
        if one.problem:
            yield f"{one.name}: {one.problem}"


def _urgency(schedule: ScheduleState) -> tuple[bool, bool, bool, Any, str]:
    is_over = schedule.next_due is None
    due = 0 if schedule.next_due is None else schedule.next_due.timestamp()
    return (
        not schedule.problem,
        not schedule.is_late,
        schedule.paused_at is None and is_over,
        due,
        schedule.name,
    )


def _schedule_cells(schedule: ScheduleState, now: datetime) -> Sequence[str]:
    due = schedule.next_due
    return (
        schedule.name,
        _schedule_state(schedule),
        "-" if due is None else f"{moment(due)} ({_distance(due, now)})",
    )


def _schedule_state(schedule: ScheduleState) -> str:
    if schedule.problem:
        return "problem"
    if schedule.paused_at is not None:
        return "paused"
    return "late" if schedule.is_late else ""


def _distance(due: datetime, now: datetime) -> str:
    return f"in {duration(due - now)}" if due > now else f"{duration(now - due)} ago"
