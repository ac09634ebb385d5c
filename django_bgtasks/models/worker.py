"""Workers that are alive, or were when they last said so."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_bgtasks.models.job import new_id


class Instruction(models.TextChoices):
    """What a worker was told by somebody who steers it from elsewhere."""

    QUIET = "quiet", _("Quiet")
    DRAIN = "drain", _("Drain")
    STOP = "stop", _("Stop")


class Worker(models.Model):
    """One process that claims and runs jobs."""

    Instruction = Instruction

    id = models.UUIDField(_("id"), primary_key=True, default=new_id, editable=False)
    hostname = models.CharField(_("host"), max_length=255)
    pid = models.PositiveIntegerField(_("process id"))
    #: Names of the queues it works on; empty: all of them.
    queues = models.JSONField(_("queues"), default=list)
    threads = models.PositiveIntegerField(_("threads"))
    started_at = models.DateTimeField(_("started at"))
    heartbeat_at = models.DateTimeField(_("last heartbeat at"))
    #: Of this package, as the worker runs it.
    version = models.CharField(_("version"), max_length=32, db_default="")
    #: Bytes that its process holds, as of the last heartbeat.
    memory = models.BigIntegerField(_("memory"), null=True)
    #: Empty: it works as ever.
    instruction = models.CharField(
        _("instruction"), max_length=5, choices=Instruction, db_default=""
    )

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
        ordering = ["id"]
        permissions = [("steer_worker", "Can quiet, drain and stop worker")]

    def __str__(self) -> str:
        return f"{self.hostname}:{self.pid}"
