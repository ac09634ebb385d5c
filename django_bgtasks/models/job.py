"""Jobs and their attempts: the columns and how to look at them.

Nothing here changes a status; that is the store's, to which ``cancel`` and ``retry``
of a queryset hand on.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.core.checks import CheckMessage
from django.db import models
from django.db.models import F, Q
from django.db.models.base import ModelState
from django.utils.translation import gettext_lazy as _

from django_bgtasks._framework import Task as BaseTask
from django_bgtasks.labels import as_creator
from django_bgtasks.models.fields import TagsField, has_tag
from django_bgtasks.tasks import task_path

if TYPE_CHECKING:
    from django_bgtasks.store.lifecycle import CancelCounts

if sys.version_info >= (3, 14):
    from uuid import uuid7
else:
    from uuid_utils.compat import uuid7


#: Characters of the name of who cancelled a job.
CANCELLER_LIMIT = 255


def new_id() -> UUID:
    """A UUIDv7: unguessable, and in the order of its making within a process."""
    return uuid7()


class Status(models.TextChoices):
    """Where a job is in its life."""

    SCHEDULED = "SCHEDULED", _("Scheduled")
    READY = "READY", _("Ready")
    RUNNING = "RUNNING", _("Running")
    SUCCESSFUL = "SUCCESSFUL", _("Successful")
    FAILED = "FAILED", _("Failed")
    CANCELLED = "CANCELLED", _("Cancelled")


class OnLost(models.TextChoices):
    """What becomes of a job whose worker died while it ran it."""

    RETRY = "retry", _("retry")
    FAIL = "fail", _("fail")


class UniqueUntil(models.TextChoices):
    """How long no other job may have a job's unique key."""

    FINISHED = "finished", _("it is finished")
    STARTED = "started", _("it is started")
    PERIOD = "period", _("its period is over")


FINISHED = (Status.SUCCESSFUL, Status.FAILED, Status.CANCELLED)


class JobQuerySet(models.QuerySet["Job"]):
    """Jobs by what a reader would ask for: ``Job.objects.on_queue("mail").failed()``."""

    def scheduled(self) -> JobQuerySet:
        """Jobs whose time has not come: delayed, or backing off."""
        return self.filter(status=Status.SCHEDULED)

    def ready(self) -> JobQuerySet:
        """Jobs that a worker may claim now."""
        return self.filter(status=Status.READY)

    def waiting(self) -> JobQuerySet:
        """Jobs that are scheduled or ready."""
        return self.filter(status__in=(Status.SCHEDULED, Status.READY))

    def running(self) -> JobQuerySet:
        """Jobs that a worker has claimed."""
        return self.of_status(Status.RUNNING)

    def successful(self) -> JobQuerySet:
        """Jobs that have done their work."""
        return self.of_status(Status.SUCCESSFUL)

    def failed(self) -> JobQuerySet:
        """Jobs that have used up their attempts, or shall not be tried again."""
        return self.of_status(Status.FAILED)

    def cancelled(self) -> JobQuerySet:
        """Jobs that were cancelled, by somebody or by their task."""
        return self.of_status(Status.CANCELLED)

    def finished(self) -> JobQuerySet:
        """Jobs at the end of their life, whatever the end."""
        return self.filter(finished_at__isnull=False)

    def unfinished(self) -> JobQuerySet:
        """Jobs that are scheduled, ready or running."""
        return self.filter(finished_at__isnull=True)

    def of_status(self, status: str) -> JobQuerySet:
        """Jobs of one status, found by an index of the few rows in question."""
        # The second condition follows from the first. The database does not know
        # that, and without it could not use such an index.
        if status in FINISHED:
            return self.filter(status=status, finished_at__isnull=False)
        if status == Status.RUNNING:
            return self.filter(status=status, worker__isnull=False)
        return self.filter(status=status)

    def of_schedule(self, name: str) -> JobQuerySet:
        """Jobs that the scheduler made for this schedule, or somebody by "run now"."""
        return self.filter(schedule=name)

    def expired(self) -> JobQuerySet:
        """Jobs that were cancelled because nobody had begun them in time."""
        return self.cancelled().filter(cancel_requested_at=F("expires_at"))

    def created_by(self, creator: models.Model) -> JobQuerySet:
        """Jobs that were enqueued with ``creator=`` this model instance."""
        return self.filter(creator=as_creator(creator))

    def tagged(self, *tags: str) -> JobQuerySet:
        """Jobs that have all of these tags."""
        return self.filter(*map(has_tag, tags))

    def children_of(self, job: Job | UUID | str) -> JobQuerySet:
        """Jobs that the task of a job has enqueued by its context."""
        return self.filter(parent=job.pk if isinstance(job, Job) else job)

    def on_queue(self, *names: str) -> JobQuerySet:
        """Jobs of these queues."""
        return self.filter(queue__in=names)

    def for_task(self, task: BaseTask[Any, Any] | str) -> JobQuerySet:
        """Jobs of a task, given as the task (Django's own, too) or as its path."""
        path = task if isinstance(task, str) else task_path(task)
        return self.filter(task=path)

    def cancel(self, by: object = "") -> CancelCounts:
        """Cancel those that are not finished; ask running ones to stop.

        Args:
            by: who wants it, as kept with the job: a user or any text.

        Returns:
            How many were cancelled at once, and how many are running and were asked.
            A worker stops those within about a second, or, if they cannot be
            stopped, does not try them again.
        """
        # The one door from rows up to what changes them: the store needs this module.
        from django_bgtasks.store import lifecycle  # noqa: PLC0415 (see above)

        return lifecycle.cancel(self, by=str(by))

    async def acancel(self, by: object = "") -> CancelCounts:
        """``cancel`` for async code."""
        return await sync_to_async(self.cancel)(by)

    def retry(self) -> int:
        """Make those that failed or were cancelled ready for one more attempt.

        Returns:
            How many there were.
        """
        from django_bgtasks.store import lifecycle  # noqa: PLC0415 (as above)

        return lifecycle.retry(self)

    async def aretry(self) -> int:
        """``retry`` for async code."""
        return await sync_to_async(self.retry)()


class Job(models.Model):
    """One enqueued call of a task, for its whole life."""

    Status = Status

    id = models.UUIDField(_("id"), primary_key=True, default=new_id, editable=False)
    task = models.CharField(_("task"), max_length=255)
    queue = models.CharField(_("queue"), max_length=100)
    priority = models.SmallIntegerField(_("priority"), default=0)
    status = models.CharField(_("status"), max_length=16, choices=Status)
    args = models.JSONField(_("arguments"), default=list)
    kwargs = models.JSONField(_("keyword arguments"), default=dict)
    backend = models.CharField(_("backend"), max_length=64)
    max_attempts = models.PositiveIntegerField(_("attempts allowed"))
    timeout = models.FloatField(_("time limit in seconds"), null=True)
    on_lost = models.CharField(
        _("when its worker dies"), max_length=5, choices=OnLost, default=OnLost.RETRY
    )

    run_after = models.DateTimeField(_("not before"), null=True)
    enqueued_at = models.DateTimeField(_("enqueued at"))
    started_at = models.DateTimeField(_("last started at"), null=True)
    finished_at = models.DateTimeField(_("finished at"), null=True)

    #: Attempts that count so far, with the running one.
    attempt = models.PositiveIntegerField(_("attempt"), default=0)
    #: Grows with every claim. Writes about a running job name it, so that a worker
    #: which lost the job cannot touch it again.
    run_token = models.PositiveIntegerField(_("run token"), default=0)
    #: The worker that has it now; NULL unless running.
    worker = models.UUIDField(_("worker"), null=True)
    last_worker = models.UUIDField(_("last worker"), null=True)
    #: When somebody cancelled the job, and who; a running one is thereby asked to stop.
    cancel_requested_at = models.DateTimeField(_("cancelled at"), null=True)
    cancel_requested_by = models.CharField(
        _("cancelled by"), max_length=CANCELLER_LIMIT, db_default=""
    )
    #: Since when no worker that claimed it has known its task.
    unknown_since = models.DateTimeField(_("task unknown since"), null=True)

    #: The name of the schedule that it comes from, and the tick for which it was made.
    schedule = models.CharField(_("schedule"), max_length=255, null=True)  # noqa: DJ001 (its index is to hold periodic jobs only)
    scheduled_for = models.DateTimeField(_("scheduled for"), null=True)

    #: What no other unfinished job may have; NULL once others may.
    unique_key = models.CharField(_("unique key"), max_length=32, null=True)  # noqa: DJ001 (NULLs are no twins of each other)
    unique_until = models.CharField(  # noqa: DJ001 (of most jobs there is nothing to say)
        _("unique until"), max_length=8, choices=UniqueUntil, null=True
    )
    #: When the period is over, if it is one.
    unique_expires_at = models.DateTimeField(_("unique until then"), null=True)
    #: No attempt begins after this moment.
    expires_at = models.DateTimeField(_("expires at"), null=True)
    #: Whether its row is kept when it has succeeded.
    store_result = models.BooleanField(_("result kept"), db_default=True)
    #: How long it is kept when it is finished; NULL: as the settings say.
    retention = models.DurationField(_("kept for"), null=True)

    verbose_name = models.CharField(_("name"), max_length=255, db_default="")
    #: Who it is for: "app.model:key".
    creator = models.CharField(_("creator"), max_length=255, null=True)  # noqa: DJ001 (its index is to hold those that have one only)
    #: The job whose task enqueued it.
    parent = models.UUIDField(_("parent"), null=True)
    tags = TagsField(_("tags"), db_default="")
    metadata = models.JSONField(_("metadata"), null=True)

    progress = models.JSONField(_("progress"), null=True)
    result = models.JSONField(_("result"), null=True)

    objects = JobQuerySet.as_manager()

    #: Of a new job: the columns that say something and mostly say nothing.
    said_columns: tuple[str, ...] = ()

    class Meta:
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        permissions = [
            ("retry_job", "Can retry job"),
            ("cancel_job", "Can cancel job"),
            ("view_job_arguments", "Can view arguments and results of job"),
        ]
        # Each index holds only the rows its query moves through, so that history
        # costs nothing. MySQL has no such indexes; the migration gives it others.
        indexes = [
            # Claim. READY means due, so piles of future jobs are never scanned.
            models.Index(
                fields=["queue", "-priority", "id"],
                name="bgtasks_job_claim",
                condition=Q(status="READY"),
            ),
            models.Index(
                fields=["run_after"],
                name="bgtasks_job_due",
                condition=Q(status="SCHEDULED"),
            ),
            # Must not mention the status: PostgreSQL would answer "id = ? AND
            # status = 'RUNNING'" from it when its statistics say few are running. With
            # the id, for a batch that ends is next to each other in it, away from the
            # dead entries of what the worker has run before.
            models.Index(
                fields=["worker", "id"],
                name="bgtasks_job_running",
                condition=Q(worker__isnull=False),
            ),
            # Pruning, and what ended when.
            models.Index(
                fields=["status", "finished_at"],
                name="bgtasks_job_finished",
                condition=Q(finished_at__isnull=False),
            ),
            # What became of a schedule's jobs.
            models.Index(
                fields=["schedule", "id"],
                name="bgtasks_job_schedule",
                condition=Q(schedule__isnull=False),
            ),
            # What nobody has claimed in time.
            models.Index(
                fields=["expires_at"],
                name="bgtasks_job_expires",
                condition=Q(expires_at__isnull=False, finished_at__isnull=True),
            ),
            # Pruning of what says for itself how long it is kept.
            models.Index(
                fields=["retention", "finished_at"],
                name="bgtasks_job_kept",
                condition=Q(retention__isnull=False, finished_at__isnull=False),
            ),
            models.Index(
                fields=["creator", "id"],
                name="bgtasks_job_creator",
                condition=Q(creator__isnull=False),
            ),
            models.Index(
                fields=["parent", "id"],
                name="bgtasks_job_parent",
                condition=Q(parent__isnull=False),
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["unique_key"],
                name="bgtasks_job_unique",
                condition=Q(unique_key__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.task} {self.id}"

    @classmethod
    def from_columns(
        cls, alias: str, columns: Mapping[str, Any] | Iterable[tuple[str, Any]]
    ) -> Job:
        """A job of which some columns are known; the others are deferred.

        As ``from_db()``, but without ``__init__()`` and its signals: a worker makes
        tens of thousands of them in a second.
        """
        job = cls.__new__(cls)
        state = ModelState()
        state.adding = False
        state.db = alias
        job._state = state
        job.__dict__.update(columns)
        return job

    @classmethod
    def check(cls, **kwargs: Any) -> list[CheckMessage]:
        # They warn that MySQL has no such constraints and ignores the conditions of
        # indexes. The migration saw to that.
        return [
            message
            for message in super().check(**kwargs)
            if message.id not in ("models.W036", "models.W037")
        ]

    @property
    def is_expired(self) -> bool:
        """Whether the job was cancelled because nobody had begun it in time."""
        return self.expires_at is not None and (
            self.cancel_requested_at == self.expires_at
        )

    @property
    def is_finished(self) -> bool:
        """Whether the job is at the end of its life."""
        return self.finished_at is not None


class Attempt(models.Model):
    """One execution that did not succeed; the successful one is on the job row."""

    class Ending(models.TextChoices):
        FAILED = "FAILED", _("Failed")
        TIMED_OUT = "TIMED_OUT", _("Timed out")
        LOST = "LOST", _("Lost")
        CANCELLED = "CANCELLED", _("Cancelled")

    # Its index is the first one below.
    job = models.ForeignKey(
        Job, models.CASCADE, related_name="attempts", db_index=False
    )
    number = models.PositiveIntegerField(_("attempt"))
    ending = models.CharField(_("ending"), max_length=16, choices=Ending)
    worker = models.UUIDField(_("worker"))
    started_at = models.DateTimeField(_("started at"))
    finished_at = models.DateTimeField(_("finished at"))
    exception_class_path = models.CharField(_("exception"), max_length=255)
    error = models.CharField(_("error"), max_length=600)
    traceback = models.TextField(_("traceback"))

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        ordering = ["id"]
        indexes = [
            # The last attempt of a job. By the job alone, PostgreSQL would go through
            # all attempts, the newest first, until it met one of a job that has none.
            models.Index(fields=["job", "id"], name="bgtasks_attempt_job"),
            # Failures of a kind, the newest first.
            models.Index(
                fields=["exception_class_path", "id"], name="bgtasks_attempt_exception"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.job_id} attempt {self.number}: {self.error}"
