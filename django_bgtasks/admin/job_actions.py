"""What can be done to jobs from the admin: who may, by which way, and what is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.contrib.auth import get_permission_codename
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from django_bgtasks.admin import job_deeds, job_export, steering
from django_bgtasks.admin.job_deeds import JobDeed, Options
from django_bgtasks.admin.job_list import chips_of, described, selection_of
from django_bgtasks.admin.permissions import CANCEL, RETRY, VIEW_ARGUMENTS, may
from django_bgtasks.admin.reporting import back_to_page, log_at_large, tell
from django_bgtasks.admin.steering import Wish
from django_bgtasks.models import Job
from django_bgtasks.models.job import Status, new_id
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.selection import Selection, SelectionError
from django_bgtasks.store.walking import walk

#: Jobs to which something is done at once; to more, it is done by a job.
ACTION_LIMIT = 100
#: Jobs that the page which asks "Are you sure?" names.
SHOWN_LIMIT = 20

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Job]
else:
    _Base = admin.ModelAdmin


@dataclass(frozen=True)
class Chosen:
    """The jobs that an action is for.

    Args:
        selection: what all of them have in common, if all that match were chosen.
        ids: theirs; of more than an action takes at once, the newest.
        are_many: whether there are more.
    """

    selection: Selection | None
    ids: list[UUID]
    are_many: bool


def _action(deed: JobDeed) -> Callable[..., HttpResponse | None]:
    """The action of the list that does this deed."""

    @admin.action(permissions=[deed.permission], description=deed.label)  # type: ignore[arg-type]  # the stubs know no plain Promise
    def act(
        model_admin: JobActions, request: HttpRequest, queryset: QuerySet[Job]
    ) -> HttpResponse | None:
        return model_admin.act(request, queryset, deed)

    act.__name__ = f"{deed.name}_selected"
    return act


class JobActions(_Base):
    """What can be done to jobs: as actions on selected ones, and on a job's page."""

    actions = (
        "retry_selected",
        "cancel_selected",
        "run_now_selected",
        "set_priority_selected",
        "move_selected",
        "reschedule_selected",
        "delete_selected",
        "export_csv",
        "export_json",
    )

    # -- who may

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody edits a job. Who has the permission may change what is waiting."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Asked by Django for the list, a job's page, and the exports."""
        return any(
            may(request, get_permission_codename(action, self.opts))
            for action in ("view", "change")
        )

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Asked by Django for actions with ``permissions=["retry"]``."""
        return may(request, RETRY)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Asked by Django for actions with ``permissions=["cancel"]``."""
        return may(request, CANCEL)

    def has_steer_permission(self, request: HttpRequest) -> bool:
        """Asked by Django for actions with ``permissions=["steer"]``."""
        return may(request, get_permission_codename("change", self.opts))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A running job stays: its worker is going to write about it."""
        if obj is not None and obj.status == Status.RUNNING:
            return False
        return super().has_delete_permission(request, obj)

    # -- on selected jobs

    retry_selected = _action(job_deeds.RETRY)
    cancel_selected = _action(job_deeds.CANCEL)
    run_now_selected = _action(job_deeds.RUN_NOW)
    set_priority_selected = _action(job_deeds.SET_PRIORITY)
    move_selected = _action(job_deeds.MOVE)
    reschedule_selected = _action(job_deeds.RESCHEDULE)
    delete_selected = _action(job_deeds.DELETE)

    @admin.action(
        permissions=["view"],
        description=gettext_lazy("Export selected %(verbose_name_plural)s as CSV"),
    )
    def export_csv(
        self, request: HttpRequest, queryset: QuerySet[Job]
    ) -> StreamingHttpResponse:
        return self._export(request, queryset, "csv")

    @admin.action(
        permissions=["view"],
        description=gettext_lazy("Export selected %(verbose_name_plural)s as JSON"),
    )
    def export_json(
        self, request: HttpRequest, queryset: QuerySet[Job]
    ) -> StreamingHttpResponse:
        return self._export(request, queryset, "json")

    def act(
        self, request: HttpRequest, queryset: QuerySet[Job], deed: JobDeed
    ) -> HttpResponse | None:
        """Do it to what was chosen, or ask first, or leave it to a job."""
        chosen = _chosen(request, queryset)
        if not (chosen.ids or chosen.are_many):
            self.message_user(request, _("There are no such jobs."), messages.WARNING)
            return None
        is_answer = "post" in request.POST
        form = deed.form(request.POST if is_answer else None)
        must_ask = deed.asks or chosen.are_many
        if must_ask and not (is_answer and form.is_valid()):
            return self._ask(request, deed, chosen, form)
        form.is_valid()
        if chosen.selection is not None and chosen.are_many:
            wish = deed.wish(form)
            return leave_to_a_job(request, self.admin_site, wish, chosen.selection)
        jobs = self.get_queryset(request).filter(pk__in=chosen.ids)
        self._do(request, deed, jobs, form)
        return None

    def _ask(
        self, request: HttpRequest, deed: JobDeed, chosen: Chosen, form: Options
    ) -> HttpResponse:
        ids = chosen.ids[:SHOWN_LIMIT]
        jobs = self.get_queryset(request).filter(pk__in=ids).order_by("-pk")
        context = {
            **self.admin_site.each_context(request),
            "title": deed.question,
            "deed": deed,
            "chosen": chosen,
            "number": len(chosen.ids),
            "more": max(len(chosen.ids) - len(ids), 0),
            "jobs": jobs.only("task", "verbose_name", "status", "queue"),
            "chips": [] if chosen.selection is None else chips_of(chosen.selection),
            "form": form,
            "opts": self.opts,
            "media": self.media,
            "action": f"{deed.name}_selected",
            "checkbox": ACTION_CHECKBOX_NAME,
            "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
            "back": request.get_full_path(),
        }
        return TemplateResponse(
            request, "admin/django_bgtasks/job/action.html", context
        )

    def _export(
        self, request: HttpRequest, queryset: QuerySet[Job], form: str
    ) -> StreamingHttpResponse:
        chosen = _chosen(request, queryset)
        if chosen.selection is None:
            batches = job_export.batches_of(chosen.ids)
            which = _("{count} selected").format(count=len(chosen.ids))
        else:
            batches = job_export.batches_of_selection(chosen.selection)
            which = described(chosen.selection) or _("all jobs")
        message = _("Exported as {form}: {which}.")
        log_at_large(request, Job, message.format(form=form.upper(), which=which))
        write = job_export.FORMS[form]
        return write(batches, with_arguments=may(request, VIEW_ARGUMENTS))

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
        self._do(request, job_deeds.RETRY, self._one(request, pk))
        return back_to_page(self, request, pk)

    @method_decorator(require_POST)
    def cancel_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """What the button "Cancel" posts to."""
        if not self.has_cancel_permission(request):
            raise PermissionDenied
        self._do(request, job_deeds.CANCEL, self._one(request, pk))
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
                tell(request, job_deeds.RUNNING_STAY, 1, messages.WARNING)
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

    def _do(
        self,
        request: HttpRequest,
        deed: JobDeed,
        jobs: QuerySet[Job],
        form: Options | None = None,
    ) -> None:
        wish = deed.wish(form or Options())
        deed.tell(request, steering.do(request, wish, jobs))


def leave_to_a_job(
    request: HttpRequest, site: admin.AdminSite, wish: Wish, selection: Selection
) -> HttpResponse:
    """Have it done by a job, and show the page of that."""
    which = described(selection) or _("all jobs")
    pk = steering.leave_to_a_job(request, wish, selection, which)
    text = _("A job of its own does it. This is its page, which says how far it is.")
    messages.success(request, text)
    url = reverse("admin:django_bgtasks_job_change", args=[pk], current_app=site.name)
    return HttpResponseRedirect(url)


def _chosen(request: HttpRequest, queryset: QuerySet[Job]) -> Chosen:
    # As Django reads it.
    is_across = forms.BooleanField(required=False)
    if not is_across.to_python(request.POST.get("select_across")):
        ids = list(queryset.order_by().values_list("pk", flat=True))
        return Chosen(None, sorted(ids, reverse=True), are_many=False)
    try:
        selection = selection_of(request, upto=new_id())
    except SelectionError:
        # The list has said so, and shows none.
        return Chosen(None, [], are_many=False)
    page = walk(selection).page(ACTION_LIMIT)
    return Chosen(selection, list(page.ids), are_many=page.older is not None)
