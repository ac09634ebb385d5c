"""What can be done to queues from the admin: who may, by which way, what is said."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    QueryDict,
)
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, ngettext_lazy
from django.views.decorators.http import require_POST

from django_bgtasks.admin.display import check_moment
from django_bgtasks.admin.permissions import CANCEL, PAUSE, may
from django_bgtasks.admin.reporting import back_to_page, log, tell
from django_bgtasks.models import Job, JobQuerySet, Queue
from django_bgtasks.models.job import Status
from django_bgtasks.store import queues, sweeps
from django_bgtasks.store.engines import get_engine
from django_bgtasks.wording import moment, number, number_up_to

#: Jobs that clearing a queue cancels while somebody waits for the page.
CLEAR_LIMIT = 5000
#: What is cleared: what no worker has.
WAITING = (Status.SCHEDULED, Status.READY)

WERE_CLEARED = ngettext_lazy(
    "%(count)d job was cancelled.", "%(count)d jobs were cancelled.", "count"
)

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Queue]
else:
    _Base = admin.ModelAdmin


class PauseForm(forms.Form):
    """For how long: a span, or until a time, or until somebody resumes it."""

    span = forms.TypedChoiceField(
        label=gettext_lazy("for"),
        choices=[
            ("", gettext_lazy("until it is resumed")),
            (900, gettext_lazy("for 15 minutes")),
            (3600, gettext_lazy("for 1 hour")),
            (4 * 3600, gettext_lazy("for 4 hours")),
            (24 * 3600, gettext_lazy("for 1 day")),
        ],
        coerce=lambda seconds: timedelta(seconds=int(seconds)),
        empty_value=None,
        required=False,
    )
    until = forms.DateTimeField(
        label=gettext_lazy("or until"),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
        validators=[check_moment],
        required=False,
    )

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        now = get_engine().now()
        if given.get("span") is not None and given.get("until") is None:
            given["until"] = now + given["span"]
        elif given.get("until") is not None and given["until"] <= now:
            raise ValidationError(_("This time has passed already."))
        return given


class QueueActions(_Base):
    """Pause, resume and clear: buttons in the list and on a queue's page."""

    actions = None

    # -- who may

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing is edited. Who has the permission may pause and resume."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A paused queue stays: without its row it would not be paused any more."""
        if obj is not None and (obj.paused_at is not None or obj._state.adding):
            return False
        return super().has_delete_permission(request, obj)

    # -- buttons

    def get_urls(self) -> list[URLPattern]:
        return [
            self._button("pause", self.pause_view),
            self._button("resume", self.resume_view),
            self._button("clear", self.clear_view),
            *super().get_urls(),
        ]

    def _button(self, action: str, view: Callable[..., HttpResponse]) -> URLPattern:
        name = f"{self.opts.app_label}_{self.opts.model_name}_{action}"
        route = f"<path:object_id>/{action}/"
        return path(route, self.admin_site.admin_view(view), name=name)

    @method_decorator(require_POST)
    def pause_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What the button "Pause" posts to."""
        queue = self._queue(request, object_id, PAUSE)
        form = PauseForm(request.POST)
        if form.is_valid():
            self._pause(request, queue, form.cleaned_data["until"])
        else:
            for problems in form.errors.values():
                self.message_user(request, " ".join(map(str, problems)), messages.ERROR)
        return self._back(request, queue)

    @method_decorator(require_POST)
    def resume_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What the button "Resume" posts to."""
        queue = self._queue(request, object_id, PAUSE)
        self._resume(request, queue)
        return self._back(request, queue)

    @method_decorator(require_POST)
    def clear_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What the button "Cancel them" posts to, below the question."""
        queue = self._queue(request, object_id, CANCEL)
        self._clear(request, queue)
        return self._back(request, queue)

    def _queue(self, request: HttpRequest, object_id: str, permission: str) -> Queue:
        if not may(request, permission):
            raise PermissionDenied
        queue = self.get_object(request, unquote(object_id))
        if queue is None:
            raise Http404
        return queue

    def _back(self, request: HttpRequest, queue: Queue) -> HttpResponse:
        """Show what the button was on: the list, or the page of the queue."""
        if "in_list" not in request.POST and self.has_view_permission(request):
            return back_to_page(self, request, queue.pk)
        if not self.has_view_permission(request):
            url = reverse("admin:index", current_app=self.admin_site.name)
            return HttpResponseRedirect(url)
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"
        url = reverse(name, current_app=self.admin_site.name)
        address = QueryDict(request.POST["in_list"]).urlencode()
        return HttpResponseRedirect(f"{url}?{address}" if address else url)

    # -- do it, and say what was done

    def _pause(
        self, request: HttpRequest, queue: Queue, until: datetime | None
    ) -> None:
        queues.pause(queue.name, until=until)
        if until is None:
            text, told = _("Queue {name} was paused."), _("Paused.")
        else:
            text = _("Queue {name} was paused until {time}.")
            told = _("Paused until {time}.")
        time = "" if until is None else moment(until)
        log(request, [queue], told.format(time=time))
        self.message_user(request, text.format(name=queue, time=time))

    def _resume(self, request: HttpRequest, queue: Queue) -> None:
        if queue.paused_at is None:
            text = _("Queue {name} was not paused.").format(name=queue)
            self.message_user(request, text, messages.WARNING)
            return
        queues.resume(queue.name)
        log(request, [queue], _("Resumed."))
        self.message_user(request, _("Queue {name} was resumed.").format(name=queue))

    def _clear(self, request: HttpRequest, queue: Queue) -> None:
        cancelled = 0
        by = request.user.get_username()
        for counts in sweeps.cancel(_jobs_of(queue), WAITING, by=by):
            cancelled += counts.cancelled
            if cancelled >= CLEAR_LIMIT:
                break
        if cancelled:
            told = ngettext(
                "Cleared: {count} job was cancelled.",
                "Cleared: {count} jobs were cancelled.",
                cancelled,
            )
            log(request, [queue], told.format(count=cancelled))
        else:
            text = _("No job waited on queue {name}.").format(name=queue)
            self.message_user(request, text, messages.WARNING)
        tell(request, WERE_CLEARED, cancelled)
        left = _count_waiting(queue) if cancelled >= CLEAR_LIMIT else 0
        if left:
            text = _("So many wait still: {count}. Clear it once more for those.")
            count = number_up_to(CLEAR_LIMIT, left)
            self.message_user(request, text.format(count=count), messages.WARNING)


def to_clear(queue: Queue) -> dict[str, Any]:
    """How many jobs clearing would cancel, in words."""
    count = _count_waiting(queue)
    return {
        "count": min(count, CLEAR_LIMIT),
        "text": number_up_to(CLEAR_LIMIT, count),
        "is_capped": count > CLEAR_LIMIT,
        "limit": number(CLEAR_LIMIT),
    }


def _count_waiting(queue: Queue) -> int:
    return sweeps.count(_jobs_of(queue), WAITING, CLEAR_LIMIT)


def _jobs_of(queue: Queue) -> JobQuerySet:
    return Job.objects.filter(queue=queue.name)
