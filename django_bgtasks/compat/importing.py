"""Schedules of another package made rows of ours, and what did not carry over said."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from django.db import DataError, IntegrityError, transaction

from django_bgtasks.exceptions import InvalidSchedule
from django_bgtasks.models import Schedule
from django_bgtasks.periodic import Periodic
from django_bgtasks.store import schedules
from django_bgtasks.store.engines import get_engine
from django_bgtasks.tasks import find_task
from django_bgtasks.timing import as_aware, as_stored


class LeftOut(ValueError):
    """A schedule cannot be imported; the message says why."""


class Fate(StrEnum):
    """What became of a schedule."""

    IMPORTED = "imported"
    PAUSED = "paused"
    LEFT_OUT = "left out"


@dataclass(frozen=True)
class Line:
    """What is reported of one schedule.

    Args:
        name: what it is called.
        fate: what became of it.
        notes: what does not carry over, or why it was left out.
    """

    name: str
    fate: Fate
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Translation:
    """A schedule in our words.

    Args:
        periodic: the job, when, and with what.
        is_paused: whether it is not to run before somebody resumes it.
        last_run: when it ran last, as far as is known.
        notes: what could not be said.
    """

    periodic: Periodic
    is_paused: bool = False
    last_run: datetime | None = None
    notes: list[str] = field(default_factory=list)


class OldSchedule(ABC):
    """A schedule as another package holds it."""

    #: What it is to be called here.
    name: str
    #: The function that it calls, by the other package's name.
    task: str

    @abstractmethod
    def translate(self, now: datetime) -> Translation:
        """The same in our words.

        Args:
            now: the time by the database's clock, aware.

        Raises:
            LeftOut: that cannot be said here, or there is nothing to do any more.
            InvalidSchedule: it makes no sense.
        """


@dataclass(frozen=True, kw_only=True)
class Importer:
    """Writes schedules of another package into our table.

    Args:
        tasks: our names of tasks by their old ones, where these differ.
        update: whether to replace those that have been imported before.
        dry_run: whether to write nothing in the end.
    """

    tasks: Mapping[str, str] = field(default_factory=dict)
    update: bool = False
    dry_run: bool = False

    def run(self, olds: Iterable[OldSchedule]) -> list[Line]:
        """Import them, all in one transaction.

        Returns:
            What became of each, in their order. Of one that cannot be imported, the
            others learn nothing.
        """
        engine = get_engine()
        with engine.transaction():
            now = engine.now()
            lines = [self._import(old, now) for old in olds]
            if self.dry_run:
                transaction.set_rollback(True, using=engine.alias)
        return lines

    def _import(self, old: OldSchedule, now: datetime) -> Line:
        try:
            row = self._row_for(old.name)
            translation = self._translate(old, now)
            self._write(row, translation, now)
        except ValueError as error:
            # LeftOut, InvalidSchedule, or a driver's own: NUL in a text, for one.
            return Line(old.name, Fate.LEFT_OUT, [str(error)])
        except (DataError, IntegrityError) as error:
            note = f"The database does not take it: {error}"
            return Line(old.name, Fate.LEFT_OUT, [note])
        fate = Fate.PAUSED if translation.is_paused else Fate.IMPORTED
        return Line(old.name, fate, translation.notes)

    def _row_for(self, name: str) -> Schedule:
        """The row to write, as it stands or new."""
        rows = Schedule.objects.using(get_engine().alias).select_for_update()
        row = rows.filter(pk=name).first()
        if row is None:
            return Schedule(name=name)
        if row.source != Schedule.Source.ADMIN:
            raise LeftOut(f"is there already, and belongs to {row.source}")
        if not self.update:
            raise LeftOut("is there already; --update would replace it")
        return row

    def _translate(self, old: OldSchedule, now: datetime) -> Translation:
        """Translated, and certain to run."""
        try:
            translation = old.translate(as_aware(now))
            periodic = replace(translation.periodic, task=self._find_task(old.task))
            periodic.bound_task()
        except (LeftOut, InvalidSchedule):
            raise
        except Exception as error:  # whatever a row holds, the others go on
            raise LeftOut(f"cannot be read: {type(error).__name__}: {error}") from error
        return replace(translation, periodic=periodic)

    def _find_task(self, old: str) -> str:
        path = self.tasks.get(old, old)
        if find_task(path) is not None:
            return path
        if path != old:
            raise LeftOut(
                f"task {path!r}, given by --task for {old!r}, is not registered here"
            )
        raise LeftOut(
            f"task {old!r} is not registered here. Name one so, "
            f'@background(name="{old}"), or say which one it is now: '
            f"--task {old}=new.path"
        )

    def _write(self, row: Schedule, translation: Translation, now: datetime) -> None:
        for column, value in schedules.columns_of(translation.periodic).items():
            setattr(row, column, value)
        if translation.last_run is not None:
            # A clock that was wrong must not hold back the next run.
            row.last_due = min(as_stored(translation.last_run), now)
        with transaction.atomic(using=get_engine().alias):
            schedules.save(row, now)
            written = Schedule.objects.filter(pk=row.pk)
            if translation.is_paused:
                schedules.pause(written, now)
            else:
                schedules.resume(written, now)


def totals(lines: Iterable[Line]) -> str:
    """How many became what, in words."""
    count = Counter(line.fate for line in lines)
    return ", ".join(f"{count[fate]} {fate}" for fate in Fate) + "."
