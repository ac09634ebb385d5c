from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from django.core.management.base import CommandParser

from django_bgtasks.management.migrated import MigratedCommand
from django_bgtasks.management.options import age
from django_bgtasks.management.tables import aligned
from django_bgtasks.store import stats
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.stats import Figures, Times
from django_bgtasks.store.tallies import HOURS_KEPT

_HEADINGS = (
    "queue", "successful", "failed", "cancelled", "retried", "failure", "per minute",
    "wait", "wait 95 %", "run", "run 95 %",
)  # fmt: skip


class Command(MigratedCommand):
    help = (
        "Show what ended on each queue, how fast, and how long jobs waited and ran "
        "(the median, and what 95 % of them stayed below)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--since",
            type=partial(age, longest=HOURS_KEPT),
            default="1h",
            metavar="AGE",
            help="How far back: minutes, hours or days, such as 30m, 1h or 7d (default: "
            "1h).",
        )
        parser.add_argument("--json", action="store_true", help="Print JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        now = get_engine().now()
        queues = stats.summary(now - options["since"], now)
        if options["json"]:
            self.stdout.write(json.dumps([_as_dict(f) for f in queues], indent=2))
        elif queues:
            for line in aligned([_HEADINGS, *(_cells(f) for f in queues)]):
                self.stdout.write(line)
        else:
            self.stdout.write("Nothing has ended in that time.")


def _as_dict(figures: Figures) -> dict[str, Any]:
    return {
        **asdict(figures),
        "begin": figures.begin.isoformat(),
        "finished": figures.finished,
        "failure_rate": figures.failure_rate,
        "per_minute": figures.per_minute,
    }


def _cells(figures: Figures) -> Sequence[str]:
    rate = figures.failure_rate
    return (
        figures.queue,
        str(figures.successful),
        str(figures.failed),
        str(figures.cancelled),
        str(figures.retried),
        "-" if rate is None else f"{rate:.1%}",
        f"{figures.per_minute:.1f}",
        *_durations(figures.wait),
        *_durations(figures.run),
    )


def _durations(times: Times) -> Iterable[str]:
    return (_duration(times.median), _duration(times.p95))


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"
