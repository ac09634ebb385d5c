"""What a job is linked with: whom it is for, where it comes from, what came of it.

A link is there only if its page is, and if who looks may look at that, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.apps import apps
from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.db import models
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _

from django_bgtasks.admin.display import badge, moment
from django_bgtasks.models import Job, Schedule, Worker
from django_bgtasks.models.job import Status
from django_bgtasks.references import Reference

#: Children that a job's page shows.
CHILD_LIMIT = 20


@dataclass(frozen=True, kw_only=True)
class Relatives:
    """As a job's page shows them; a text is empty if there is no such relative.

    Args:
        tick: the time for which its schedule made it.
        children: jobs that its task has enqueued, the newest first.
        more: where all children are listed, if these are not all.
    """

    creator: str = ""
    schedule: str = ""
    tick: str = ""
    parent: str = ""
    worker: str = ""
    children: tuple[str, ...] = ()
    more: str = ""

    def __bool__(self) -> bool:
        return any(
            (self.creator, self.schedule, self.parent, self.worker, self.children)
        )


@dataclass(frozen=True)
class Links:
    """Links for who asks, within one site of the admin."""

    request: HttpRequest
    site: AdminSite

    def of(self, job: Job, workers: Mapping[UUID, Worker]) -> Relatives:
        """All relatives of ``job``, in a number of queries that does not grow.

        Args:
            workers: those that are still there, of those that it had.
        """
        rows = Job.objects.filter(parent=job.pk).order_by("-pk")
        children = list(rows.only("task", "status")[: CHILD_LIMIT + 1])
        more = ""
        if len(children) > CHILD_LIMIT:
            query = urlencode({"parent": job.pk})
            more = f"{self._reverse('changelist')}?{query}"
        return Relatives(
            creator=self._creator(job.creator),
            schedule=self._schedule(job.schedule),
            tick=_tick(job),
            parent=self._parent(job.parent),
            worker=self.worker(job.last_worker, workers),
            children=tuple(self._job(child) for child in children[:CHILD_LIMIT]),
            more=more,
        )

    def worker(self, pk: UUID | None, workers: Mapping[UUID, Worker]) -> str:
        """Host and process of a worker that is still there, else its id."""
        if pk is None:
            return ""
        if pk not in workers:
            return str(pk)
        return self._to(Worker, pk, f"{workers[pk]} ({pk})")

    def _creator(self, text: str | None) -> str:
        reference = None if text is None else _parsed(text)
        if text is None or reference is None:
            return text or ""
        model = apps.get_model(reference.model)
        if not self._may_view(model):
            return text
        # As its own page would find it, which may not show all rows to everybody.
        admin = self.site.get_model_admin(model)
        creator = admin.get_object(self.request, reference.pk)
        if creator is None:
            return _("{reference}, which is not to be found").format(reference=text)
        if not self._may_view(model, creator):
            return text
        note = format_html('<span class="bgtasks-note">{}</span>', text)
        return format_html("{} {}", self._to(model, creator.pk, str(creator)), note)

    def _schedule(self, name: str | None) -> str:
        if name is None or not self._may_view(Schedule):
            return name or ""
        if not Schedule.objects.filter(pk=name).exists():
            return name
        return self._to(Schedule, name, name)

    def _parent(self, pk: UUID | None) -> str:
        if pk is None:
            return ""
        parent = Job.objects.filter(pk=pk).only("task", "status").first()
        return str(pk) if parent is None else self._job(parent)

    def _job(self, job: Job) -> str:
        shown = badge(job.status, str(Status(job.status).label))
        link = self._to(Job, job.pk, str(job.pk))
        return format_html("{} {} {}", shown, link, job.task)

    def _to(self, model: type[models.Model], pk: Any, text: str) -> str:
        """A link to the page of a row, if there is one to look at; else the text."""
        if not self._may_view(model):
            return text
        url = self._reverse("change", pk, model=model)
        return format_html('<a href="{}">{}</a>', url, text)

    def _may_view(
        self, model: type[models.Model], row: models.Model | None = None
    ) -> bool:
        if not self.site.is_registered(model):
            return False
        admin = self.site.get_model_admin(model)
        return admin.has_view_permission(self.request, row)

    def _reverse(self, view: str, *keys: Any, model: type[models.Model] = Job) -> str:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}_{view}"
        args = [quote(key) for key in keys]
        return reverse(name, args=args, current_app=self.site.name)


def workers_by_id(ids: Iterable[UUID | None]) -> dict[UUID, Worker]:
    """Those of them that are still there."""
    wanted = {pk for pk in ids if pk is not None}
    return Worker.objects.in_bulk(wanted)


def _tick(job: Job) -> str:
    if job.schedule is None:
        return ""
    if job.scheduled_for is None:
        return _("no time of its rule: somebody ran it")
    return moment(job.scheduled_for)


def _parsed(text: str) -> Reference | None:
    """A reference to a row that a page of the admin can be about."""
    try:
        reference = Reference.from_text(text)
        apps.get_model(reference.model)
    except (LookupError, ValueError):
        return None
    # The admin shows what is in the default database.
    return None if reference.database else reference
