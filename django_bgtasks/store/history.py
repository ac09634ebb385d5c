"""What became of the last jobs of schedules."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django_bgtasks.models import Job, JobQuerySet
from django_bgtasks.store.engines import get_engine

#: What is read of each.
_COLUMNS = ("schedule", "status", "enqueued_at", "started_at", "finished_at")


def last_jobs(schedules: Sequence[str], limit: int) -> dict[str, list[Job]]:
    """The newest jobs of each schedule, oldest first.

    In two queries, whatever the number of schedules and of their jobs: an index leads
    to the end of each history.

    Args:
        schedules: their names, some hundreds at the most.
        limit: how many of each.
    """
    found: dict[str, list[Job]] = {name: [] for name in schedules}
    if not found:
        return found
    jobs = Job.objects.using(get_engine().alias)
    ids = _last_ids([_newest(name)[:limit] for name in found])
    for job in jobs.filter(pk__in=ids).order_by("pk").only(*_COLUMNS):
        # Where case is ignored, a job may name a schedule that was called otherwise.
        found.get(job.schedule or "", []).append(job)
    return found


def _newest(schedule: str) -> JobQuerySet:
    """Its jobs along their own index.

    Were the schedule a constant, an order by it would say nothing, and PostgreSQL might
    walk along all ids, back to where this schedule's are.
    """
    jobs = Job.objects.using(get_engine().alias)
    its_own = jobs.filter(schedule__gte=schedule, schedule__lte=schedule)
    return its_own.order_by("-schedule", "-pk")


def _last_ids(slices: Sequence[JobQuerySet]) -> list[UUID]:
    # The ORM has no union of slices for all databases.
    connection = get_engine().connection
    selects, values = [], []
    for rows in slices:
        compiler = rows.values("pk").query.get_compiler(connection.alias)
        sql, params = compiler.as_sql()
        selects.append(f"SELECT * FROM ({sql}) AS newest")  # noqa: S608 (what the ORM has written)
        values += params
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(selects), values)
        return [UUID(str(key)) for (key,) in cursor.fetchall()]
