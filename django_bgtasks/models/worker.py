"""Workers that are alive, or were when they last said so."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_bgtasks.models.job import new_id


class Worker(models.Model):
    """One process that claims and runs jobs."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    hostname = models.CharField(_("host"), max_length=255)
    pid = models.PositiveIntegerField(_("process id"))
    #: Names of the queues it works on; empty: all of them.
    queues = models.JSONField(_("queues"), default=list)
    threads = models.PositiveIntegerField(_("threads"))
    started_at = models.DateTimeField(_("started at"))
    heartbeat_at = models.DateTimeField(_("last heartbeat at"))

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.hostname}:{self.pid}"
