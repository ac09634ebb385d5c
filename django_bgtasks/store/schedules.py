"""Schedules: their rows kept in line with what is declared, and their ticks made jobs.

There is no leader. A tick and its job are written in one transaction that holds the
schedule's row, so that any number of schedulers may run, and die at any point.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import Q

from django_bgtasks.arguments import normalize_call
from django_bgtasks.exceptions import InvalidSchedule
from django_bgtasks.limits import OnConflict
from django_bgtasks.models import Job, Schedule, ScheduleQuerySet
from django_bgtasks.models.schedule import Source
from django_bgtasks.periodic import Declared, Periodic
from django_bgtasks.store import lifecycle, wakeup
from django_bgtasks.store.engines import get_engine
from django_bgtasks.tasks import Task, find_task
from django_bgtasks.timing import as_aware, as_stored

#: Schedules that one transaction deals with. On SQLite nobody else writes meanwhile.
BATCH = 100
#: After so many jobs, it leaves the other schedules to the next one.
ENOUGH_JOBS = 1000
#: Of these, so many in one statement.
INSERTED_AT_ONCE = 50
#: A tick that nobody saw for longer is missed.
MISSED_AFTER = timedelta(minutes=1)
#: Missed ticks that ``missed="all"`` makes up for at the most, the latest ones.
MISSED_LIMIT = 1000

#: What a tick changes in its schedule.
_TICK_COLUMNS = ("next_due", "last_due", "last_job", "planned_by", "problem")

#: What a change of a schedule leaves as it is.
_NOT_TO_SAVE = ("paused_at", "next_due", "last_due", "last_job")


@dataclass
class Round:
    """What came of one look at the schedules that were due.

    Args:
        looked_at: how many there were.
        jobs: those that were enqueued.
        problems: what is wrong with some of them, by name.
        overlaps: names of those that got none, as their last job is not finished.
        missed: names of those with ticks that were seen too late to get one.
    """

    looked_at: int = 0
    jobs: list[Job] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    overlaps: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def add(self, other: Round) -> None:
        """Count what came of another one in."""
        self.looked_at += other.looked_at
        self.jobs += other.jobs
        self.problems |= other.problems
        self.overlaps += other.overlaps
        self.missed += other.missed


def next_due() -> datetime | None:
    """When the scheduler has to look next; None if there is nothing to wait for."""
    rows = _rows().running().filter(next_due__isnull=False).order_by("next_due")
    return rows.values_list("next_due", flat=True).first()


def enqueue_due(now: datetime, limit: int = BATCH) -> Round:
    """Enqueue a job for each tick that is due, up to ``limit`` schedules.

    Args:
        now: the time by the database's clock.
    """
    due = _rows().running().filter(next_due__lte=now).order_by("next_due")
    try:
        return _enqueue_ticks(due, limit, now)
    except DatabaseError as error:
        if _may_pass(error):
            raise
        names = list(due.values_list("pk", flat=True)[:limit])
        return _enqueue_ticks_one_by_one(names, now)


def _enqueue_ticks_one_by_one(names: Iterable[str], now: datetime) -> Round:
    """Find the one that the database does not take, and pass it over."""
    total = Round()
    for name in names:
        row = _rows().running().filter(pk=name, next_due__lte=now)
        try:
            total.add(_enqueue_ticks(row, 1, now))
        except DatabaseError as error:
            if _may_pass(error):
                raise
            problem = f"The database does not take it: {error}"
            _rows().filter(pk=name).update(problem=problem)
            total.add(Round(looked_at=1, problems={name: problem}))
    return total


def _may_pass(error: DatabaseError) -> bool:
    engine = get_engine()
    return engine.is_transient(error) or engine.is_conflict(error)


def _enqueue_ticks(due: ScheduleQuerySet, limit: int, now: datetime) -> Round:
    engine = get_engine()
    with engine.transaction():
        # Those that another scheduler is at are no part of the limit.
        schedules = list(due.select_for_update(skip_locked=engine.skips_locked)[:limit])
        round_ = Round()
        unfinished = _unfinished_jobs(schedules)
        for schedule in schedules:
            if len(round_.jobs) >= ENOUGH_JOBS:
                break
            round_.looked_at += 1
            try:
                round_.jobs += _jobs_of(schedule, now, unfinished, round_)
            except Exception as error:  # noqa: BLE001 (whatever a row holds, the others go on)
                schedule.problem = round_.problems[schedule.pk] = _as_problem(error)
        if round_.looked_at:
            standing = _enqueue(round_.jobs)
            for schedule in schedules:
                if schedule.last_job in standing:
                    schedule.last_job = standing[schedule.last_job].pk
            _write_ticks(schedules[: round_.looked_at])
            round_.jobs = [job for job in round_.jobs if standing[job.pk] is job]
    return round_


def _enqueue(jobs: Sequence[Job]) -> dict[UUID, Job]:
    """Write new jobs; where one of a unique task is there, that stands for the new one.

    Returns:
        The job that stands for each, by id.
    """
    standing: dict[UUID, Job] = {}
    # Servers limit the size of a statement, and arguments may be long.
    for start in range(0, len(jobs), INSERTED_AT_ONCE):
        batch = jobs[start : start + INSERTED_AT_ONCE]
        there = lifecycle.enqueue(batch, _policies(batch))
        standing |= {job.pk: one for job, one in zip(batch, there, strict=True)}
    return standing


def _policies(jobs: Iterable[Job]) -> dict[UUID, OnConflict]:
    policies: dict[UUID, OnConflict] = {}
    for job in jobs:
        task = find_task(job.task) if job.unique_key else None
        if task is not None:
            # There is nobody to raise it to.
            is_raised = task.on_conflict == "raise"
            policies[job.pk] = "skip" if is_raised else task.on_conflict
    return policies


def _write_ticks(schedules: Iterable[Schedule]) -> None:
    """Write what ticks have changed in their schedules.

    Past the ORM, whose bulk_update() takes longer than all the rest.
    """
    engine = get_engine()
    fields: list[Any] = [Schedule._meta.get_field(name) for name in _TICK_COLUMNS]
    assignments = ", ".join(f"{engine.quote(field.column)} = %s" for field in fields)
    fields.append(Schedule._meta.pk)
    table, key = engine.quote(Schedule._meta.db_table), engine.quote(fields[-1].column)
    with engine.connection.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {table} SET {assignments} WHERE {key} = %s",  # noqa: S608 (our own table)
            [
                [
                    field.get_db_prep_save(
                        getattr(row, field.attname), engine.connection
                    )
                    for field in fields
                ]
                for row in schedules
            ],
        )


def _jobs_of(
    schedule: Schedule, now: datetime, unfinished: Collection[UUID], round_: Round
) -> list[Job]:
    """The jobs of a schedule that is due, which is moved on behind them."""
    periodic = schedule.as_periodic()
    task = periodic.bound_task()
    if schedule.planned_by != periodic.rule.plan or _has_been(schedule):
        ticks = _ticks_of_both_plans(schedule, periodic, now)
        jobs = [_job(periodic, task, tick, now) for tick in ticks]
        _replan(schedule, periodic, now)
        if jobs:
            schedule.last_due, schedule.last_job = ticks[-1], jobs[-1].pk
        return jobs
    ticks = _due_ticks(schedule, periodic, now)
    last = ticks[-1]
    if periodic.missed == "skip" and now - last > MISSED_AFTER:
        ticks = []
    if schedule.last_job in unfinished:
        round_.overlaps.append(schedule.pk)
        ticks = []
    jobs = [_job(periodic, task, tick, now) for tick in ticks]
    if schedule.next_due not in ticks and schedule.pk not in round_.overlaps:
        round_.missed.append(schedule.pk)
    schedule.last_due = last
    schedule.next_due = _tick_after(periodic, last)
    if jobs:
        schedule.last_job = jobs[-1].pk
    return jobs


def _due_ticks(schedule: Schedule, periodic: Periodic, now: datetime) -> list[datetime]:
    """The ticks from ``next_due`` until ``now``, as rows hold them: those that count."""
    first = schedule.next_due or now
    if periodic.missed == "all" and periodic.overlap == "allow":
        later = periodic.rule.ticks(as_aware(first), as_aware(now), MISSED_LIMIT)
    else:
        latest = periodic.rule.latest(as_aware(first), as_aware(now))
        later = [] if latest is None else [latest]
        first = first if latest is None else as_stored(latest)
    stored = [as_stored(tick) for tick in later]
    return [first, *(tick for tick in stored if tick > first)][-MISSED_LIMIT:]


def _job(
    periodic: Periodic, task: Task[Any, Any], tick: datetime | None, now: datetime
) -> Job:
    """A new job of a schedule, not yet written.

    Args:
        task: with the options of its jobs.
        tick: for which it is; None if somebody wants it now.
    """
    wait = None if tick is None else periodic.wait_after(tick)
    if tick is not None and wait:
        task = task.using(run_after=tick + wait)
    make = lifecycle.job_maker(task, task.backend, now)
    job = make(*normalize_call(periodic.args, periodic.kwargs))
    job.schedule = periodic.name
    job.scheduled_for = tick
    job.said_columns = (*job.said_columns, "schedule", "scheduled_for")
    return job


def _unfinished_jobs(schedules: Collection[Schedule]) -> set[UUID]:
    last = [s.last_job for s in schedules if s.last_job and s.overlap == "skip"]
    if not last:
        return set()
    rows = Job.objects.using(get_engine().alias).filter(pk__in=last).unfinished()
    return set(rows.values_list("pk", flat=True))


def _as_problem(error: Exception) -> str:
    if isinstance(error, InvalidSchedule):
        return str(error)
    return f"{type(error).__name__}: {error}"


def plan(schedule: Schedule, now: datetime) -> None:
    """Set, in the object, which tick comes next: one that is still to come.

    Raises:
        InvalidSchedule: the rule cannot be understood.
    """
    _plan_from(schedule, schedule.as_periodic(), now)


def _replan(schedule: Schedule, periodic: Periodic, now: datetime) -> None:
    """The same of a row that says from when on, if it was never planned."""
    since = schedule.next_due or now
    _plan_from(schedule, periodic, now if schedule.planned_by else min(now, since))


def _plan_from(schedule: Schedule, periodic: Periodic, moment: datetime) -> None:
    # A clock that was set back gives no tick a second job.
    since = max(moment, schedule.last_due or moment)
    schedule.next_due = _tick_after(periodic, since)
    schedule.planned_by = periodic.rule.plan
    schedule.problem = ""


def _has_been(schedule: Schedule) -> bool:
    """Whether its next tick has been dealt with, as in a row that was set back."""
    last, following = schedule.last_due, schedule.next_due
    return last is not None and following is not None and following <= last


def _ticks_of_both_plans(
    schedule: Schedule, periodic: Periodic, now: datetime
) -> list[datetime]:
    """The tick that is due by the plan of before, if it is one by the new rule, too.

    Else where two versions of the code see a rule differently, and take turns to plan,
    no tick would ever be due.
    """
    tick = schedule.next_due
    if not schedule.planned_by or tick is None or _has_been(schedule):
        return []
    if now - tick > MISSED_AFTER:
        return []
    moment = as_aware(tick)
    is_one = periodic.rule.next_after(moment - timedelta.resolution) == moment
    return [tick] if is_one else []


def _tick_after(periodic: Periodic, moment: datetime) -> datetime | None:
    tick = periodic.rule.next_after(as_aware(moment))
    # Without USE_TZ, an hour that is repeated looks like the one before.
    while tick is not None and as_stored(tick) <= moment:
        tick = periodic.rule.next_after(tick)
    return None if tick is None else as_stored(tick)


def recheck(after: str = "", limit: int = BATCH) -> tuple[list[str], str]:
    """Take schedules up again that had a problem and have it no more.

    Such as a task that a newer version of the code knows.

    Args:
        after: the name of the last one that was looked at; empty: begin anew.
        limit: how many to look at.

    Returns:
        The names of those that have no problem any more, and of the last one that was
        looked at; empty if that was the last of all.
    """
    troubled = list(_rows().with_problem().filter(pk__gt=after).order_by("pk")[:limit])
    healed = [schedule.pk for schedule in troubled if _is_well(schedule)]
    _rows().filter(pk__in=healed).update(problem="")
    return healed, troubled[-1].pk if len(troubled) == limit else ""


def _is_well(schedule: Schedule) -> bool:
    if find_task(schedule.task) is None:
        # To say so at length takes a hundred times as long.
        return False
    try:
        schedule.as_periodic().bound_task()
    except Exception:  # noqa: BLE001 (whatever it is: it is known, and stands in the row)
        return False
    return True


def sync(declared: Iterable[Declared], now: datetime) -> dict[str, str]:
    """Make the rows that settings and code own say what these say.

    Args:
        declared: all that there are.
        now: the time by the database's clock.

    Returns:
        What is wrong with some of them, by name. Their rows stay as they were.
    """
    problems: dict[str, str] = {}
    wanted: dict[str, tuple[Declared, Periodic]] = {}
    names: set[str] = set()
    for one in declared:
        names.add(one.name)
        try:
            wanted[one.name] = one, one.parse()
        except Exception as error:  # noqa: BLE001 (whatever is wrong with it)
            problems[one.name] = _as_problem(error)
    with get_engine().transaction():
        # All at once and in the order of their keys, as everywhere.
        concerned = Q(pk__in=names) | ~Q(source=Source.ADMIN)
        there = {row.pk: row for row in _lock(_rows().filter(concerned))}
        # MySQL finds rows whose names are the same but for their case.
        alike = {pk.casefold(): row for pk, row in there.items() if pk not in names}
        kept = set(names)
        for name, (one, periodic) in sorted(wanted.items()):
            row = there.get(name)
            if row is None and get_engine().ignores_case:
                row = alike.get(name.casefold())
            kept.add(row.pk if row else name)
            try:
                with transaction.atomic(using=get_engine().alias):
                    _write_declared(row, one, periodic, now)
            except Exception as error:
                if isinstance(error, DatabaseError) and _may_pass(error):
                    raise
                # Whatever is wrong with it, the others are written.
                problems[name] = _as_problem(error)
        gone = [pk for pk, row in there.items() if pk not in kept]
        _rows().declared().filter(pk__in=gone).delete()
    return problems


def _write_declared(
    row: Schedule | None, one: Declared, periodic: Periodic, now: datetime
) -> None:
    if row is not None:
        if _change(row, one.source, periodic, now):
            _write(row)
        return
    row = Schedule(name=one.name)
    _change(row, one.source, periodic, now)
    # Another process may be at the same.
    with suppress(IntegrityError), transaction.atomic(using=get_engine().alias):
        row.save(using=get_engine().alias, force_insert=True)


def _change(row: Schedule, source: str, periodic: Periodic, now: datetime) -> bool:
    """Let a row say what is declared.

    Returns:
        Whether it did not already.
    """
    columns = {"source": Source(source), **columns_of(periodic)}
    has_changed = any(getattr(row, name) != value for name, value in columns.items())
    for name, value in columns.items():
        setattr(row, name, value)
    is_planned = row.paused_at is not None or row.planned_by == row.rule.plan
    if not is_planned:
        plan(row, now)
    if has_changed:
        row.problem = ""
    return has_changed or not is_planned


def columns_of(periodic: Periodic) -> dict[str, Any]:
    """What a row says of a periodic job."""
    rule = periodic.rule
    moments = {"at": rule.at, "start": rule.start, "end": rule.end}
    args, kwargs = normalize_call(periodic.args, periodic.kwargs)
    return {
        "task": periodic.task,
        "args": args,
        "kwargs": kwargs,
        "cron": rule.cron,
        "every": rule.every,
        "phase": rule.phase,
        "timezone": rule.timezone,
        "queue_name": periodic.queue_name,
        "priority": periodic.priority,
        "jitter": periodic.jitter,
        "missed": periodic.missed,
        "overlap": periodic.overlap,
        **{name: value and as_stored(value) for name, value in moments.items()},
    }


def pause(schedules: ScheduleQuerySet, now: datetime | None = None) -> int:
    """Let ticks of these schedules pass without a job until they are resumed.

    Returns:
        How many were not paused already.
    """
    engine = get_engine()
    with engine.transaction():
        active = _lock(schedules.using(engine.alias).filter(paused_at=None))
        rows = _rows().filter(pk__in=[row.pk for row in active])
        return rows.update(paused_at=now or engine.now(), next_due=None)


def resume(schedules: ScheduleQuerySet, now: datetime | None = None) -> int:
    """Give the ticks of these schedules jobs again, those that are still to come.

    Returns:
        How many were paused.
    """
    engine = get_engine()
    with engine.transaction():
        paused = _lock(schedules.using(engine.alias).filter(paused_at__isnull=False))
        rows = _rows().filter(pk__in=[row.pk for row in paused])
        # Whoever looks at them next finds no plan, and makes one.
        moment = now or engine.now()
        resumed = rows.update(paused_at=None, next_due=moment, planned_by="")
        wakeup.call()
        return resumed


def save(schedule: Schedule, now: datetime | None = None) -> None:
    """Write a schedule that somebody has made or changed, and plan it anew.

    Raises:
        InvalidSchedule: it cannot be understood.
    """
    engine = get_engine()
    with engine.transaction():
        there = _lock(_rows().filter(pk=schedule.pk))
        for row in there:
            # Of what happened since the caller read its row, nothing is undone.
            for column in _NOT_TO_SAVE:
                setattr(schedule, column, getattr(row, column))
        schedule.problem = ""
        if schedule.paused_at is None:
            plan(schedule, now or engine.now())
        if there:
            _write(schedule)
        else:
            schedule.save(using=engine.alias, force_insert=True)
        wakeup.call()


def run_now(name: str, now: datetime | None = None) -> Job:
    """Enqueue a job of the schedule at once, whatever its rule says.

    Raises:
        Schedule.DoesNotExist: there is no such schedule.
        InvalidSchedule: its task is not registered here, or cannot be called so.
    """
    engine = get_engine()
    with engine.transaction():
        schedule = _rows().select_for_update().get(pk=name)
        periodic = schedule.as_periodic()
        job = _job(periodic, periodic.bound_task(), None, now or engine.now())
        job = _enqueue([job])[job.pk]
        if not _unfinished_jobs([schedule]):
            # Else the next tick is to wait for that one.
            schedule.last_job = job.pk
            schedule.save(using=engine.alias, update_fields=["last_job"])
    return job


def _rows() -> ScheduleQuerySet:
    return Schedule.objects.using(get_engine().alias)


def _lock(rows: ScheduleQuerySet) -> list[Schedule]:
    return list(rows.order_by("pk").select_for_update())


def _write(schedule: Schedule) -> None:
    """Write all of a row that is there, what the scheduler knows included."""
    columns = [f.name for f in Schedule._meta.concrete_fields if not f.primary_key]
    schedule.save(using=get_engine().alias, update_fields=columns)
