"""What stands for the dashboard among the models of the admin."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from django_bgtasks.models.job import Job


class Dashboard(Job):
    """No rows of its own: the admin links pages by models, and this is one of them.

    Who may view jobs may see it.
    """

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name = _("dashboard")
        verbose_name_plural = _("dashboard")
