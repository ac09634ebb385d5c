"""Queues that somebody has said something about."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Queue(models.Model):
    """A lane of jobs. It has a row only once it was paused."""

    name = models.CharField(_("name"), max_length=100, primary_key=True)
    paused_at = models.DateTimeField(_("paused at"), null=True, blank=True)
    #: When it resumes by itself; NULL: when somebody says so.
    resume_at = models.DateTimeField(_("resumes at"), null=True, blank=True)

    class Meta:
        verbose_name = _("queue")
        verbose_name_plural = _("queues")
        ordering = ["name"]
        permissions = [("pause_queue", "Can pause and resume queue")]

    def __str__(self) -> str:
        return self.name
