"""Queues: what is on each, and which are paused."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import InvalidPage, Paginator
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_bgtasks.admin.display import NOTHING, badge, moment, recent_moment
from django_bgtasks.admin.permissions import CANCEL, PAUSE, may, may_view
from django_bgtasks.admin.queue_actions import (
    PauseForm,
    QueueActions,
    to_clear,
)
from django_bgtasks.models import Job, Queue
from django_bgtasks.options import can_be_addressed
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.overview import COUNT_LIMIT, QueueState, queue_states
from django_bgtasks.tasks import registered_tasks
from django_bgtasks.wording import duration, number_up_to

if TYPE_CHECKING:
    _Form = forms.ModelForm[Queue]
else:
    _Form = forms.ModelForm


class QueueForm(_Form):
    """A queue that is added by its name."""

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if not can_be_addressed(name):
            raise forms.ValidationError(_("A name needs more than dots and spaces."))
        return name


class QueueChangeList(ChangeList):
    """Pages of queues by their names, of which few have a row."""

    def get_results(self, request: HttpRequest) -> None:
        now = get_engine().now()
        states = {state.name: state for state in queue_states(now)}
        rows = {queue.name: queue for queue in self.root_queryset}
        names = self._found(sorted({*states, *rows, *_of_tasks()}))
        self.paginator = Paginator(names, self.list_per_page)
        try:
            listed = self.paginator.page(self.page_num).object_list
        except InvalidPage:
            raise IncorrectLookupParameters from None
        self.result_list = [
            _shown(rows.get(name) or Queue(name=name), states.get(name), now)
            for name in listed
        ]
        self.result_count = self.full_result_count = len(names)
        self.multi_page = self.paginator.num_pages > 1
        self.show_all = self.can_show_all = False
        self.show_full_result_count = self.show_admin_actions = False

    def _found(self, names: Iterable[str]) -> list[str]:
        words = self.query.casefold().split()
        return [
            name for name in names if all(word in name.casefold() for word in words)
        ]


@admin.register(Queue)
class QueueAdmin(QueueActions):
    """Queues need no row: those of tasks and of jobs are shown, too."""

    list_display = ("name",)
    list_per_page = 50
    search_fields = ("name",)
    form = QueueForm
    change_list_template = "admin/django_bgtasks/queue/change_list.html"

    class Media:
        css = {"all": ("django_bgtasks/admin.css",)}
        js = ("django_bgtasks/live.js",)

    def get_fields(self, request: HttpRequest, obj: Queue | None = None) -> Any:
        return ("name",) if obj is None else ("name", "state", "paused_since")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return () if obj is None else ("name", "state", "paused_since")

    # -- the list

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return QueueChangeList

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {
            "title": _("Queues"),
            "pause_form": PauseForm(),
            # Whoever presses a button gets back to the same page.
            "address": request.GET.urlencode(),
            **self._rights(request),
            **(extra_context or {}),
        }
        return super().changelist_view(request, context)

    def _rights(self, request: HttpRequest) -> dict[str, bool]:
        return {
            "may_pause": may(request, PAUSE),
            "may_clear": may(request, CANCEL),
            "may_view_jobs": may_view(request, Job),
        }

    # -- the page of one

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Queue | None:
        """The row, or one that is not written, of a queue that is known otherwise."""
        queue = super().get_object(request, object_id, from_field)
        if queue is None and from_field is None and _is_known(object_id):
            return Queue(name=object_id)
        return queue

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        queue: Queue | None = kwargs["obj"]
        if queue is not None:
            now = get_engine().now()
            states = {state.name: state for state in queue_states(now)}
            context |= {
                **self._rights(request),
                "queue": _shown(queue, states.get(queue.name), now),
                "pause_form": PauseForm(),
                "to_clear": to_clear(queue) if may(request, CANCEL) else None,
            }
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=gettext_lazy("state"))
    def state(self, queue: Queue) -> SafeString:
        return _state(queue)

    @admin.display(description=gettext_lazy("paused since"))
    def paused_since(self, queue: Queue) -> str:
        return moment(queue.paused_at)


def _of_tasks() -> Iterable[str]:
    return {task.queue_name for task in registered_tasks()}


def _is_known(name: str) -> bool:
    if name in _of_tasks():
        return True
    return any(state.name == name for state in queue_states())


def _shown(queue: Queue, state: QueueState | None, now: datetime) -> dict[str, Any]:
    """A queue as the list and its page show it; without a state, there is nothing."""
    oldest = None if state is None else state.oldest_due
    return {
        "name": queue.name,
        "query": urlencode({"queue": queue.name}),
        "is_paused": queue.paused_at is not None,
        "state": _state(queue),
        "oldest": NOTHING if oldest is None else duration(now - oldest),
        **{
            kind: _number(state, kind)
            for kind in ("waiting", "scheduled", "running", "failed")
        },
    }


def _number(state: QueueState | None, kind: str) -> str:
    if state is None:
        return "0"
    number: int = getattr(state, kind)
    return number_up_to(COUNT_LIMIT, number + (kind in state.capped))


def _state(queue: Queue) -> SafeString:
    if queue.paused_at is None:
        return badge("active", _("Active"))
    paused = badge("paused", _("Paused"))
    if queue.resume_at is None:
        return paused
    until = format_html(_("until {time}"), time=recent_moment(queue.resume_at))
    return format_html('{} <span class="bgtasks-note">{}</span>', paused, until)
