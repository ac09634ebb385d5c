"""Schedules of django-celery-beat, as its tables hold them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper

from django_bgtasks.compat.crontabs import cron_of
from django_bgtasks.compat.importing import LeftOut, OldSchedule, Translation
from django_bgtasks.compat.tables import Row, Tables
from django_bgtasks.exceptions import InvalidSchedule
from django_bgtasks.periodic import Periodic
from django_bgtasks.rules import EPOCH, SHORTEST_INTERVAL, Rule

TABLE = "django_celery_beat_periodictask"
_KINDS = ("crontab", "interval", "clocked", "solar")
_SECOND = timedelta(seconds=1)

#: Columns that say something which has no counterpart here, and what to do about it.
_UNKNOWN_HERE = {
    "priority": "what it meant depends on the broker; set it in the admin, or in "
    "the task",
    "exchange": "there are queues only",
    "routing_key": "there are queues only",
    "headers": "jobs have none; use an argument",
    "expire_seconds": "a job waits until it is run",
}


def schedules(connection: BaseDatabaseWrapper) -> Iterator[OldSchedule]:
    """All that there are.

    Raises:
        MissingTable: they are not in this database.
    """
    tables = Tables(connection, _zone_of_naive_moments())
    tasks = tables.read(TABLE)
    rules = {
        kind: tables.by_id(f"django_celery_beat_{kind}schedule") for kind in _KINDS
    }
    return (BeatSchedule(row, rules) for row in tasks)


class BeatSchedule(OldSchedule):
    """A row of celery beat's.

    Args:
        row: of the table of periodic tasks.
        rules: the rows of the other tables, by kind and id.
    """

    def __init__(self, row: Row, rules: Mapping[str, Mapping[int, Row]]) -> None:
        self._row = row
        self._rules = rules
        self.name = row.text("name")
        self.task = row.text("task")

    def translate(self, now: datetime) -> Translation:
        if self.task == "celery.backend_cleanup":
            raise LeftOut("is celery's own; our workers prune old jobs by themselves")
        rule, notes = self._rule(), self._notes()
        _check_end(rule, now)
        if self._row["one_off"] and rule.at is None:
            rule = self._once(rule, now)
            notes.append(f"runs {rule}")
        periodic = Periodic(
            name=self.name,
            task=self.task,
            rule=rule,
            args=_parsed("args", self._row.text("args") or "[]"),
            kwargs=_parsed("kwargs", self._row.text("kwargs") or "{}"),
            queue_name=self._row.text("queue"),
        )
        return Translation(
            periodic=periodic,
            is_paused=not self._row["enabled"],
            last_run=self._row.moment("last_run_at"),
            notes=notes,
        )

    def _notes(self) -> list[str]:
        return [
            f"{column} {self._row.text(column)} does not carry over: {advice}"
            for column, advice in _UNKNOWN_HERE.items()
            if self._row.text(column) not in ("", "{}", "null")
        ]

    def _rule(self) -> Rule:
        given = [kind for kind in _KINDS if self._row[f"{kind}_id"] is not None]
        if len(given) != 1:
            raise LeftOut(f"has {' and '.join(given) or 'nothing'} to say when it runs")
        kind = given[0]
        when = self._rules[kind].get(self._row[f"{kind}_id"])
        if when is None:
            raise LeftOut(f"its {kind} does not exist any more")
        if kind == "solar":
            raise LeftOut(
                f"runs by the sun ({when.text('event')}), of which no rule here knows. "
                "A daily task can reckon the time and enqueue it with schedule="
            )
        options = {
            "crontab": self._cron_options,
            "interval": self._interval_options,
            "clocked": self._clocked_options,
        }
        return Rule(
            **options[kind](when),
            start=self._row.moment("start_time"),
            end=self._row.moment("expires"),
        )

    def _cron_options(self, crontab: Row) -> dict[str, Any]:
        return {"cron": cron_of(crontab), "timezone": _timezone_of(crontab)}

    def _interval_options(self, interval: Row) -> dict[str, Any]:
        every = timedelta(**{interval.text("period"): interval["every"]})
        if every < SHORTEST_INTERVAL:
            raise LeftOut(f"runs every {every}; here, the shortest interval is 1 s")
        start = self._row.moment("start_time")
        phase = (self._counted_from() - (start or EPOCH)) % every
        return {"every": every, "phase": phase // _SECOND * _SECOND}

    def _counted_from(self) -> datetime:
        """What celery waits from: the last run, the start, or else the last change."""
        return (
            self._row.moment("last_run_at")
            or self._row.moment("start_time")
            or self._row.moment("date_changed")
            or EPOCH
        )

    def _clocked_options(self, clocked: Row) -> dict[str, Any]:
        return {"at": clocked.moment("clocked_time")}

    def _once(self, rule: Rule, now: datetime) -> Rule:
        """The one run that is left of a rule."""
        if not self._row["enabled"] or self._row["total_run_count"]:
            raise LeftOut("was to run once, and has, or is disabled")
        return Rule(at=rule.next_after(now), timezone=rule.timezone)


def _check_end(rule: Rule, now: datetime) -> None:
    if rule.next_after(now) is None:
        end = rule.at or rule.end
        raise LeftOut(f"is over since {end:%Y-%m-%d %H:%M:%S %Z}")


def _parsed(column: str, text: str) -> Any:
    try:
        return json.loads(text, object_hook=_plain)
    except ValueError as error:
        raise InvalidSchedule(column, f"cannot be read: {error}") from None


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    # So kombu writes what JSON has no type for, and a task would be given just that.
    if {"__type__", "__value__"} <= value.keys():
        raise ValueError(f"it holds a {value['__type__']}, which is not JSON")
    return value


def _timezone_of(crontab: Row) -> str:
    own = crontab.text("timezone") if _minds_zones() else ""
    return own or str(getattr(settings, "CELERY_TIMEZONE", None) or "UTC")


def _zone_of_naive_moments() -> tzinfo | None:
    return None if _minds_zones() else UTC


def _minds_zones() -> bool:
    return bool(getattr(settings, "DJANGO_CELERY_BEAT_TZ_AWARE", True))
