"""May this job be enqueued? Of unique jobs there is one for each key.

The database's constraint decides, never a look before the INSERT: a job is written
unless its key is taken, and only then is it asked who has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from uuid import UUID

from django.db import DatabaseError
from django.db.models import F

from django_bgtasks.exceptions import AlreadyEnqueued
from django_bgtasks.limits import OnConflict
from django_bgtasks.models import Job, JobQuerySet
from django_bgtasks.models.job import Status
from django_bgtasks.store import wakeup
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.expiry import cancel_expired

#: What becomes of a unique job whose like is there, by its id.
Policies = Mapping[UUID, OnConflict]
NO_POLICIES: Policies = MappingProxyType({})

#: How often a job is tried whose like is there, and gone when one looks. Each time,
#: others got further.
TRIES = 100

_WAITING = (Status.SCHEDULED, Status.READY)

#: What "debounce" takes of the new job.
_TIMES = ("status", "run_after", "expires_at")
#: What "replace" leaves as it is: who the job is, and since when it is there.
_NOT_REPLACED = frozenset(("id", "enqueued_at", "attempt", "run_token", "unique_key"))


def admit(jobs: Sequence[Job], policies: Policies) -> dict[UUID, Job]:
    """Write unique jobs, but those whose like is there.

    Args:
        jobs: new ones, with their keys.
        policies: what becomes of each if its like is there, by id.

    Returns:
        The job that stands for each, by id: itself, or the one that is there.

    Raises:
        AlreadyEnqueued: there is one, and the policy is "raise".
    """
    engine = get_engine()
    admitted: dict[UUID, Job] = {}
    # In one order, so that two who do this for the same keys wait for each other, and
    # not both.
    left = sorted(jobs, key=lambda job: job.unique_key or "")
    for _ in range(TRIES):
        try:
            admitted |= _admit_some(left, policies)
        except DatabaseError as error:
            # Within a transaction, all of that is lost: it is its owner's to repeat.
            if not (wakeup.commits_at_once(engine) and engine.is_deadlock(error)):
                raise
        left = [job for job in left if job.pk not in admitted]
        if not left:
            return admitted
    raise DatabaseError(
        f"{left[0].task} could not be enqueued: a job with its unique key came and went "
        f"{TRIES} times meanwhile."
    )


def _admit_some(jobs: Sequence[Job], policies: Policies) -> dict[UUID, Job]:
    """One round of it; to be looked at again is what others have changed meanwhile."""
    firsts: dict[str, Job] = {}
    for job in jobs:
        firsts.setdefault(job.unique_key or "", job)
    engine = get_engine()
    # As one, for a worker may be quick to take a new job, and its key with it.
    with engine.transaction():
        engine.insert_unless_taken(list(firsts.values()))
        holders = _holders(firsts)
    admitted: dict[UUID, Job] = {}
    for job in jobs:
        holder = holders.get(job.unique_key or "")
        standing = holder and _meet(job, holder, policies[job.pk])
        if standing is not None:
            admitted[job.pk] = standing
    return admitted


def _holders(firsts: Mapping[str, Job]) -> dict[str, Job]:
    """Who has each key now; of the jobs that were written, themselves.

    Args:
        firsts: the jobs that were to be written, by their keys.
    """
    holders: dict[str, Job] = {}
    for row in _as_they_are(_rows().filter(unique_key__in=list(firsts))):
        key = row.unique_key or ""
        if row.pk == firsts[key].pk:
            # Whatever an old snapshot shows beside it.
            holders[key] = firsts[key]
        else:
            holders.setdefault(key, row)
    return holders


def _meet(job: Job, holder: Job, policy: OnConflict) -> Job | None:
    """What stands for ``job``, now that ``holder`` has its key; None: look again."""
    if holder.pk == job.pk:
        return job
    if _is_over(holder, job):
        return None
    match policy:
        case "raise":
            raise AlreadyEnqueued(job.task, holder.pk)
        case "replace":
            return _change(holder, job, _replacement(job))
        case "debounce":
            later = {name: getattr(job, name) for name in _TIMES}
            return _change(holder, job, later)
        case _:
            return _keep_waiting(holder)


def _is_over(holder: Job, job: Job) -> bool:
    """Whether ``holder`` has no right to the key any more; then it lets go."""
    row = _rows().filter(pk=holder.pk, unique_key=job.unique_key)
    ends = holder.unique_expires_at
    if ends is not None and ends <= job.enqueued_at:
        row.update(unique_key=None)
        return True
    # Nobody has found out yet that it has expired, and it will not run.
    return cancel_expired(row, job.enqueued_at) > 0


def _keep_waiting(holder: Job) -> Job | None:
    """``holder``, which does not begin before the caller's commit, if it waits.

    For it stands for a call that may be about what the caller has written.
    """
    if not get_engine().connection.in_atomic_block or holder.status not in _WAITING:
        return holder
    return _rows().waiting().filter(pk=holder.pk).select_for_update().first()


def _change(holder: Job, job: Job, changes: Mapping[str, object]) -> Job | None:
    """Write ``changes`` into ``holder``, if it still waits."""
    row = _rows().filter(pk=holder.pk, unique_key=job.unique_key)
    if row.waiting().update(**changes):
        # Whoever has claimed it meanwhile, and its key with it, has what was written.
        row = _rows().filter(pk=holder.pk)
    # It runs, or has ended and stands for its period: it is what there is. Or it is gone.
    return _as_they_are(row).first()


def _replacement(job: Job) -> dict[str, object]:
    """All that ``job`` says of itself, for a row that may have had attempts."""
    changes: dict[str, object] = {
        field.attname: getattr(job, field.attname)
        for field in Job._meta.concrete_fields
        if field.attname not in _NOT_REPLACED
    }
    return {**changes, "max_attempts": F("attempt") + job.max_attempts}


def _as_they_are(rows: JobQuerySet) -> JobQuerySet:
    """``rows``, those too that came after the first look of an old snapshot."""
    engine = get_engine()
    if engine.reads_old_rows and engine.connection.in_atomic_block:
        return rows.select_for_update()
    return rows


def _rows() -> JobQuerySet:
    return Job.objects.using(get_engine().alias)
