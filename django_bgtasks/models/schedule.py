"""Schedules: periodic jobs as rows, and what the scheduler knows of each."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage
from django.db import models
from django.db.models import Q
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from django_bgtasks.encoding import decode_known
from django_bgtasks.exceptions import InvalidSchedule
from django_bgtasks.periodic import NAME_LIMIT, Periodic
from django_bgtasks.rules import Rule
from django_bgtasks.timing import as_aware


class Source(models.TextChoices):
    """Who owns a schedule, and so may change it."""

    SETTINGS = "settings", _("settings")
    CODE = "code", _("code")
    ADMIN = "admin", _("admin")


class Missed(models.TextChoices):
    """Which of several ticks that nobody saw in time get a job."""

    LATEST = "latest", _("the latest")
    SKIP = "skip", _("none")
    ALL = "all", _("all")


class Overlap(models.TextChoices):
    """Whether a tick gets a job while that of the last one is not finished."""

    ALLOW = "allow", _("allow")
    SKIP = "skip", _("skip")


class ScheduleQuerySet(models.QuerySet["Schedule"]):
    """Schedules by what a reader would ask for."""

    def running(self) -> ScheduleQuerySet:
        """Those whose ticks get jobs: neither paused nor in trouble."""
        return self.filter(paused_at=None, problem="")

    def with_problem(self) -> ScheduleQuerySet:
        """Those that the scheduler passes over, since something is wrong with them."""
        return self.exclude(problem="")

    def pause(self) -> int:
        """Let their ticks pass without a job until they are resumed.

        Returns:
            How many were not paused already.
        """
        # The door that jobs have, too: the store needs this module.
        from django_bgtasks.store import schedules  # noqa: PLC0415 (see above)

        return schedules.pause(self)

    def resume(self) -> int:
        """Give their ticks jobs again, those that are still to come.

        Returns:
            How many were paused.
        """
        from django_bgtasks.store import schedules  # noqa: PLC0415 (as above)

        return schedules.resume(self)

    def update(self, **columns: Any) -> int:
        """Django's own; a rule that is changed so is planned anew by the scheduler."""
        if RULE_COLUMNS & columns.keys() and "next_due" not in columns:
            columns |= {"planned_by": "", "next_due": now()}
        return super().update(**columns)

    def declared(self) -> ScheduleQuerySet:
        """Those that settings or code own."""
        return self.exclude(source=Source.ADMIN)


#: What the scheduler knows of a schedule, and nobody else is to write.
STATE_COLUMNS = frozenset(
    {
        "paused_at",
        "problem",
        "next_due",
        "last_due",
        "last_job",
        "planned_by",
    }
)
#: What says when it is due.
RULE_COLUMNS = frozenset({"cron", "every", "phase", "at", "timezone", "start", "end"})


class Schedule(models.Model):
    """A rule for periodic jobs.

    A row that is created is taken up by the scheduler by itself, and so is one that was
    changed: see ``planned_by``.
    """

    Source = Source
    Missed = Missed
    Overlap = Overlap

    name = models.CharField(_("name"), max_length=NAME_LIMIT, primary_key=True)
    source = models.CharField(
        _("owned by"),
        max_length=8,
        choices=Source,
        default=Source.ADMIN,
        editable=False,
    )
    task = models.CharField(_("task"), max_length=255)
    args = models.JSONField(_("arguments"), default=list, blank=True)
    kwargs = models.JSONField(_("keyword arguments"), default=dict, blank=True)

    cron = models.CharField(_("cron expression"), max_length=255, blank=True)
    every = models.DurationField(_("every"), null=True, blank=True)
    phase = models.DurationField(_("phase"), default=timedelta, blank=True)
    at = models.DateTimeField(_("once, at"), null=True, blank=True)
    timezone = models.CharField(_("time zone"), max_length=64, blank=True)
    start = models.DateTimeField(_("not before"), null=True, blank=True)
    end = models.DateTimeField(_("not after"), null=True, blank=True)

    queue_name = models.CharField(_("queue"), max_length=100, blank=True)
    priority = models.SmallIntegerField(_("priority"), null=True, blank=True)
    jitter = models.DurationField(_("jitter"), default=timedelta, blank=True)
    missed = models.CharField(
        _("make up for missed"), max_length=6, choices=Missed, default=Missed.LATEST
    )
    overlap = models.CharField(
        _("overlap"), max_length=5, choices=Overlap, default=Overlap.ALLOW
    )

    paused_at = models.DateTimeField(_("paused at"), null=True, editable=False)
    #: What is wrong with it, for which the scheduler passes it over.
    problem = models.TextField(_("problem"), default="", editable=False)
    #: The tick that comes next; in a row that is to be planned yet, the time from which
    #: on; None: there is no more, or it is paused.
    next_due = models.DateTimeField(
        _("next run"), null=True, default=now, editable=False
    )
    #: The last tick that has been dealt with.
    last_due = models.DateTimeField(_("last run"), null=True, editable=False)
    #: The job of the last tick that got one.
    last_job = models.UUIDField(_("last job"), null=True, editable=False)
    #: The rule by which ``next_due`` was found; empty: it is to be planned yet. Where it
    #: is not the rule of the row any more, that is what is left of another plan.
    planned_by = models.TextField(default="", editable=False)

    objects = ScheduleQuerySet.as_manager()

    class Meta:
        verbose_name = _("schedule")
        verbose_name_plural = _("schedules")
        ordering = ["name"]
        indexes = [
            models.Index(
                fields=["next_due"],
                name="bgtasks_schedule_due",
                condition=Q(paused_at__isnull=True, problem=""),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Write what describes the schedule, and let the scheduler look if it is new.

        Of a row that is there, not what the scheduler knows: that may have changed since
        it was read, and would be undone.
        """
        if self._state.adding or args or kwargs.get("update_fields") is not None:
            super().save(*args, **kwargs)
            return
        names = {field.name for field in self._meta.concrete_fields} - STATE_COLUMNS
        if self.planned_by != self._plan():
            self.planned_by, self.next_due = "", now()
            names |= {"planned_by", "next_due"}
        super().save(**{**kwargs, "update_fields": names - {self._meta.pk.name}})

    @classmethod
    def check(cls, **kwargs: Any) -> list[CheckMessage]:
        # W037 warns that MySQL ignores the condition, which only makes its index longer.
        return [
            message
            for message in super().check(**kwargs)
            if message.id != "models.W037"
        ]

    def _plan(self) -> str | None:
        try:
            return self.rule.plan
        except InvalidSchedule:
            return None

    @property
    def rule(self) -> Rule:
        """When it is due.

        Raises:
            InvalidSchedule: the row says nothing that can be understood.
        """
        return _rule(
            cron=self.cron,
            every=self.every,
            phase=self.phase,
            at=_aware(self.at),
            # By name, for TIME_ZONE may be another one tomorrow.
            timezone=self.timezone or settings.TIME_ZONE,
            start=_aware(self.start),
            end=_aware(self.end),
        )

    def as_periodic(self) -> Periodic:
        """The periodic job that the row describes.

        Raises:
            InvalidSchedule: the row says nothing that can be understood.
        """
        return Periodic(
            name=self.name,
            task=self.task,
            rule=self.rule,
            # What cannot be decoded is refused where the arguments are looked at.
            args=decode_known(self.args),
            kwargs=decode_known(self.kwargs),
            queue_name=self.queue_name,
            priority=self.priority,
            jitter=self.jitter,
            missed=self.missed,  # type: ignore[arg-type]  # checked there
            overlap=self.overlap,  # type: ignore[arg-type]  # checked there
        )


# To check one takes longer than all that follows, and there are few different ones.
_rule = lru_cache(maxsize=10_000)(Rule)


def _aware(moment: datetime | None) -> datetime | None:
    return None if moment is None else as_aware(moment)
