"""The options by which commands choose jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import Q

from django_bgtasks.management import options
from django_bgtasks.models import Job, JobQuerySet
from django_bgtasks.models.fields import has_tag
from django_bgtasks.store.engines import get_engine


@dataclass(frozen=True)
class Filter:
    """One option, which may be given repeatedly to choose the jobs of each value.

    Args:
        name: its name, without dashes.
        metavar: what the help calls its value.
        help: what the help says of it.
        condition: which jobs these values choose.
        type: what makes a value of its text.
    """

    name: str
    metavar: str
    help: str
    condition: Callable[[Sequence[Any]], Q]
    type: Callable[[str], Any] = str


#: All of them, but status and age. One that is added here is in every command.
FILTERS = (
    Filter("queue", "NAME", "Jobs of this queue.", lambda v: Q(queue__in=v)),
    Filter("task", "PATH", "Jobs of this task.", lambda v: Q(task__in=v)),
    Filter("schedule", "NAME", "Jobs of this schedule.", lambda v: Q(schedule__in=v)),
    Filter(
        "tag",
        "TAG",
        "Jobs with this tag.",
        lambda v: reduce(or_, map(has_tag, v)),
    ),
    Filter(
        "creator",
        "APP.MODEL:KEY",
        "Jobs for this model instance, such as auth.user:42.",
        lambda v: Q(creator__in=v),
    ),
    Filter("id", "ID", "The job with this id.", lambda v: Q(pk__in=v), options.job_id),
)


def add_filters(
    parser: CommandParser,
    *,
    statuses: Sequence[str],
    default: Sequence[str],
    since: str,
) -> None:
    """Add the options.

    Args:
        statuses: those that may be asked for.
        default: those without ``--status``.
        since: what the age of a job counts from, such as "were enqueued".
    """
    group = parser.add_argument_group(
        "which jobs",
        "Each may be given repeatedly, and means any of its values; jobs have to fit "
        "all that are given.",
    )
    group.add_argument(
        "--status",
        action="append",
        type=str.upper,
        choices=list(map(str, statuses)),
        help=f"Jobs of this status (default: {', '.join(default)}).",
    )
    for one in FILTERS:
        group.add_argument(
            f"--{one.name}",
            action="append",
            metavar=one.metavar,
            type=one.type,
            help=one.help,
        )
    for name, than in (("--older-than", "longer ago than"), ("--newer-than", "within")):
        group.add_argument(
            name,
            type=options.age,
            metavar="AGE",
            help=f"Jobs that {since} {than} this, such as 30m, 2h or 7d.",
        )
    group.add_argument(
        "--all",
        action="store_true",
        help="All jobs. Needed if none of the others is given.",
    )


def chosen_jobs(given: Mapping[str, Any], *, age_column: str) -> JobQuerySet:
    """The jobs that the options choose, of whatever status.

    Args:
        given: the options of the command.
        age_column: the time that a job's age counts from.

    Raises:
        CommandError: nothing was chosen, and not ``--all`` either.
    """
    conditions = [
        one.condition(given[one.name]) for one in FILTERS if given[one.name] is not None
    ]
    now = get_engine().now()
    conditions += _ages(given, age_column, now)
    if not (conditions or given["status"] or given["all"]):
        raise CommandError(
            "Say which jobs, for example with --queue or --task; or all of them, with "
            "--all."
        )
    return Job.objects.filter(*conditions)


def _ages(given: Mapping[str, Any], column: str, now: datetime) -> list[Q]:
    older, newer = given["older_than"], given["newer_than"]
    ages = []
    if older is not None:
        ages.append(Q(**{f"{column}__lt": now - older}))
    if newer is not None:
        ages.append(Q(**{f"{column}__gt": now - newer}))
    return ages
