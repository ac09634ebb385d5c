"""What can be done to jobs from the admin: who may, by which way, and what is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.utils import unquote
from django.contrib.auth import get_permission_codename
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy
from django.views.decorators.http import require_POST

from django_bgtasks.admin import steering
from django_bgtasks.admin.reporting import back_to_page, tell
from django_bgtasks.models import Job
from django_bgtasks.models.job import Status
from django_bgtasks.store.engines import get_engine

#: Jobs that one action takes. Django's page that asks "Are you sure?" posts every id,
#: and a thousand fields are the most that it accepts by default.
ACTION_LIMIT = 900

WILL_BE_RETRIED = ngettext_lazy(
    "%(count)d job will be retried.", "%(count)d jobs will be retried.", "count"
)
NOT_RETRIED = ngettext_lazy(
    "%(count)d job was neither failed nor cancelled and was left as it was.",
    "%(count)d jobs were neither failed nor cancelled and were left as they were.",
    "count",
)
WERE_CANCELLED = ngettext_lazy(
    "%(count)d job was cancelled.", "%(count)d jobs were cancelled.", "count"
)
ASKED_TO_STOP = ngettext_lazy(
    "%(count)d running job was asked to stop.",
    "%(count)d running jobs were asked to stop.",
    "count",
)
NOT_CANCELLED = ngettext_lazy(
    "%(count)d job had finished already and was left as it was.",
    "%(count)d jobs had finished already and were left as they were.",
    "count",
)
RUNNING_STAY = ngettext_lazy(
    "%(count)d running job cannot be deleted. Cancel it first.",
    "%(count)d running jobs cannot be deleted. Cancel them first.",
    "count",
)

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Job]
else:
    _Base = admin.ModelAdmin


class JobActions(_Base):
    """Retry, cancel and delete: as actions on selected jobs and on a job's page."""

    actions = ("retry_selected", "cancel_selected", "delete_selected")

    # -- who may

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody edits a job. Who has the permission may retry and cancel."""
        return False

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Asked by Django for actions with ``permissions=["retry"]``."""
        return self._has("change", request)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Asked by Django for actions with ``permissions=["cancel"]``."""
        return self._has("change", request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A running job stays: its worker is going to write about it."""
        if obj is not None and obj.status == Status.RUNNING:
            return False
        return super().has_delete_permission(request, obj)

    def _has(self, action: str, request: HttpRequest) -> bool:
        codename = get_permission_codename(action, self.opts)
        return request.user.has_perm(f"{self.opts.app_label}.{codename}")

    # -- on selected jobs

    @admin.action(
        permissions=["retry"],
        description=gettext_lazy("Retry selected %(verbose_name_plural)s"),
    )
    def retry_selected(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        self._retry(request, self._limited(request, queryset))

    @admin.action(
        permissions=["cancel"],
        description=gettext_lazy("Cancel selected %(verbose_name_plural)s"),
    )
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        self._cancel(request, self._limited(request, queryset))

    @admin.action(
        permissions=["delete"],
        description=gettext_lazy("Delete selected %(verbose_name_plural)s"),
    )
    def delete_selected(
        self, request: HttpRequest, queryset: QuerySet[Job]
    ) -> HttpResponse | None:
        """Django's own, which asks first, for all but running jobs."""
        jobs = self._limited(request, queryset)
        with get_engine().transaction():
            chosen = steering.lock(jobs)
            ids = [job.pk for job in chosen if job.status != Status.RUNNING]
            left = len(chosen) - len(ids)
            tell(request, RUNNING_STAY, left, messages.WARNING)
            return (
                delete_selected(self, request, jobs.filter(pk__in=ids)) if ids else None
            )

    def _limited(self, request: HttpRequest, jobs: QuerySet[Job]) -> QuerySet[Job]:
        # "Select all" means all that match, which may be any number.
        ids = list(
            jobs.order_by("-pk").values_list("pk", flat=True)[: ACTION_LIMIT + 1]
        )
        if len(ids) > ACTION_LIMIT:
            text = _(
                "One action takes {limit} jobs, and more were selected: it took the "
                "newest. Repeat it for the others."
            )
            self.message_user(
                request, text.format(limit=ACTION_LIMIT), messages.WARNING
            )
        return self.get_queryset(request).filter(pk__in=ids[:ACTION_LIMIT])

    # -- on a job's page

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        view = self.admin_site.admin_view
        return [
            path("<uuid:pk>/retry/", view(self.retry_view), name=f"{name}_retry"),
            path("<uuid:pk>/cancel/", view(self.cancel_view), name=f"{name}_cancel"),
            *super().get_urls(),
        ]

    @method_decorator(require_POST)
    def retry_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """What the button "Retry" posts to."""
        if not self.has_retry_permission(request):
            raise PermissionDenied
        self._retry(request, self._one(request, pk))
        return back_to_page(self, request, pk)

    @method_decorator(require_POST)
    def cancel_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """What the button "Cancel" posts to."""
        if not self.has_cancel_permission(request):
            raise PermissionDenied
        self._cancel(request, self._one(request, pk))
        return back_to_page(self, request, pk)

    def delete_view(
        self,
        request: HttpRequest,
        object_id: str,
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Django's own, which asks first, unless the job is running."""
        with get_engine().transaction():
            if self.has_delete_permission(request) and self._runs(request, object_id):
                tell(request, RUNNING_STAY, 1, messages.WARNING)
                return back_to_page(self, request, unquote(object_id))
            return super().delete_view(request, object_id, extra_context)

    def _runs(self, request: HttpRequest, object_id: str) -> bool:
        job = self.get_object(request, unquote(object_id))
        locked = [] if job is None else steering.lock(Job.objects.filter(pk=job.pk))
        return any(job.status == Status.RUNNING for job in locked)

    def _one(self, request: HttpRequest, pk: UUID) -> QuerySet[Job]:
        job = self.get_queryset(request).filter(pk=pk)
        if not job.exists():
            raise Http404
        return job

    # -- do it, and say what was done

    def _retry(self, request: HttpRequest, jobs: QuerySet[Job]) -> None:
        done = steering.retry(request, jobs)
        tell(request, WILL_BE_RETRIED, done.retried)
        tell(request, NOT_RETRIED, done.left, messages.WARNING)

    def _cancel(self, request: HttpRequest, jobs: QuerySet[Job]) -> None:
        done = steering.cancel(request, jobs)
        tell(request, WERE_CANCELLED, done.cancelled)
        tell(request, ASKED_TO_STOP, done.asked)
        tell(request, NOT_CANCELLED, done.left, messages.WARNING)
