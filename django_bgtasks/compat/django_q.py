"""Schedules of django-q2, as its table holds them."""

from __future__ import annotations

import ast
from calendar import monthrange
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper

from django_bgtasks.compat.importing import LeftOut, OldSchedule, Translation
from django_bgtasks.compat.tables import Row, Tables
from django_bgtasks.exceptions import InvalidSchedule
from django_bgtasks.periodic import Periodic
from django_bgtasks.rules import Rule, zone_named

TABLE = "django_q_schedule"

#: Months from one run to the next.
_MONTHS = {"M": 1, "BM": 2, "Q": 3, "Y": 12}
#: Runs that are left, of which the last one is looked for.
_COUNTED = 1000
_COMMON_YEAR = 2023

#: Columns that say something which has no counterpart here, and what to do about it.
_UNKNOWN_HERE = {
    "hook": "call it where the task ends",
    "intended_date_kwarg": "take the context instead (takes_context=True), and look at "
    "its scheduled_for",
}


def schedules(connection: BaseDatabaseWrapper) -> Iterator[OldSchedule]:
    """All that there are.

    Raises:
        MissingTable: they are not in this database.
    """
    rows = Tables(connection).read(TABLE)
    # As databases compare names.
    count = Counter(row.text("name").casefold() for row in rows)
    return (
        QSchedule(row, is_unique=count[row.text("name").casefold()] == 1)
        for row in rows
    )


class QSchedule(OldSchedule):
    """A row of django-q2's.

    Args:
        row: of its table.
        is_unique: whether no other row has its name.
    """

    def __init__(self, row: Row, *, is_unique: bool) -> None:
        self._row = row
        self.task = row.text("func")
        name = row.text("name")
        # There, names may be empty and need not differ.
        unique = f"{(name or self.task)[:200]} #{row['id']}"
        self.name = name if name and is_unique else unique

    def translate(self, now: datetime) -> Translation:
        if self._row["repeats"] == 0:
            raise LeftOut("is done: it has no repeats left")
        notes = self._notes()
        rule = self._limited(self._rule(now, notes), now, notes)
        kwargs = _keywords(self._row.text("kwargs"))
        options = kwargs.pop("q_options", None)
        if options:
            notes.append(
                f"q_options {options} do not carry over: give options to @background"
            )
        periodic = Periodic(
            name=self.name,
            task=self.task,
            rule=rule,
            args=_arguments(self._row.text("args")),
            kwargs=kwargs,
            queue_name=self._queue(),
        )
        return Translation(periodic=periodic, notes=notes)

    def _notes(self) -> list[str]:
        return [
            f"{column} {self._row.text(column)} does not carry over: {advice}"
            for column, advice in _UNKNOWN_HERE.items()
            if self._row.text(column)
        ]

    def _queue(self) -> str:
        """There, each queue has a cluster that works on it; "": the default one."""
        cluster = self._row.text("cluster")
        return "" if cluster == _conf("name") else cluster

    def _rule(self, now: datetime, notes: list[str]) -> Rule:
        next_run = self._row.moment("next_run")
        kind = self._row.text("schedule_type")
        if next_run is None:
            raise LeftOut("has no next run")
        if kind == "O":
            return self._once(next_run, now)
        if kind in ("I", "BW"):
            return self._interval(kind, next_run, notes)
        # It may be meant to begin later than the next time of its rule.
        start = next_run.replace(second=0, microsecond=0) if next_run > now else None
        timezone = _timezone()
        local = next_run.astimezone(zone_named(timezone))
        return Rule(cron=self._cron(kind, local, notes), timezone=timezone, start=start)

    def _once(self, next_run: datetime, now: datetime) -> Rule:
        if next_run <= now:
            raise LeftOut(f"was to run once, at {next_run:%Y-%m-%d %H:%M:%S %Z}")
        return Rule(at=next_run)

    def _interval(self, kind: str, next_run: datetime, notes: list[str]) -> Rule:
        start = next_run.replace(microsecond=0)
        if kind == "I":
            return Rule(every=timedelta(minutes=self._row["minutes"] or 1), start=start)
        notes.append(
            "runs every 14 days of 24 hours: its local time moves when clocks change"
        )
        return Rule(every=timedelta(days=14), start=start)

    def _cron(self, kind: str, local: datetime, notes: list[str]) -> str:
        if kind == "C":
            return self._row.text("cron")
        if kind in _MONTHS:
            return _monthly(_months_from(local.month, _MONTHS[kind]), local, notes)
        expressions = {
            "H": f"{local.minute} * * * *",
            "D": f"{local.minute} {local.hour} * * *",
            "W": f"{local.minute} {local.hour} * * {local.isoweekday() % 7}",
        }
        if kind not in expressions:
            raise LeftOut(f"has a schedule_type {kind!r} that nobody knows")
        return expressions[kind]

    def _limited(self, rule: Rule, now: datetime, notes: list[str]) -> Rule:
        """The rule with an end where no runs are left."""
        left = self._row["repeats"] or -1
        if left < 0 or rule.at is not None:
            return rule
        if left > _COUNTED:
            notes.append(f"repeats {left} does not carry over: it goes on without end")
            return rule
        end = now
        for _ in range(left):
            end = rule.next_after(end) or end
        notes.append(f"has {left} runs left: ends at {end:%Y-%m-%d %H:%M:%S %Z}")
        return replace(rule, end=end)


def _monthly(months: list[int], local: datetime, notes: list[str]) -> str:
    day = str(local.day)
    if any(local.day > _shortest(month) for month in months):
        notes.append(f"runs on the last day of the month, where it was day {day}")
        day = "L"
    named = "*" if len(months) == 12 else ",".join(map(str, months))
    return f"{local.minute} {local.hour} {day} {named} *"


def _months_from(first: int, step: int) -> list[int]:
    return sorted((first - 1 + n) % 12 + 1 for n in range(0, 12, step))


def _shortest(month: int) -> int:
    return monthrange(_COMMON_YEAR, month)[1]


def _timezone() -> str:
    # Without USE_TZ, django-q2 does not look at its own.
    return str(_conf("time_zone") or "") if settings.USE_TZ else ""


def _conf(key: str) -> Any:
    return getattr(settings, "Q_CLUSTER", {}).get(key)


def _arguments(text: str) -> list[Any]:
    """The arguments of ``1, 2, 'John'``: values of Python, as one writes them."""
    if not text:
        return []
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise InvalidSchedule("args", f"cannot be read: {error}") from None
    return list(value) if isinstance(value, tuple) else [value]


def _keywords(text: str) -> dict[str, Any]:
    """The keyword arguments of ``a=1, b='two'``, or of a dict."""
    if not text:
        return {}
    try:
        return _dict(text) if text.startswith("{") else _call(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise InvalidSchedule("kwargs", f"cannot be read: {error}") from None


def _dict(text: str) -> dict[str, Any]:
    value = ast.literal_eval(text)
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return value
    raise ValueError("it is no dict of arguments by their names")


def _call(text: str) -> dict[str, Any]:
    call = ast.parse(f"f({text})", mode="eval").body
    if not isinstance(call, ast.Call) or call.args:
        raise ValueError("it is no list of name=value")
    values = {kw.arg: ast.literal_eval(kw.value) for kw in call.keywords}
    if None in values:
        raise ValueError("it unpacks something")
    return {str(name): value for name, value in values.items()}
