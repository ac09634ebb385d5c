"""The list of jobs: filters, search and pages that stay quick, however many there are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import IS_POPUP_VAR
from django.contrib.admin.views.main import (
    ERROR_FLAG,
    IGNORED_PARAMS,
    PAGE_VAR,
    SEARCH_VAR,
    ChangeList,
)
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.functional import Promise, cached_property
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_bgtasks.admin.permissions import VIEW_ARGUMENTS, may
from django_bgtasks.models import Attempt, Job, Queue
from django_bgtasks.models.job import Status
from django_bgtasks.store import walking
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.selection import PARAMETERS, Selection, SelectionError
from django_bgtasks.store.walking import Cursor, Page, Walk, walk
from django_bgtasks.tasks import registered_tasks
from django_bgtasks.wording import moment, number

#: Where a page begins, in its address.
BEFORE, AFTER = "before", "after"
#: What an address says besides which jobs.
_NO_FILTERS = {*IGNORED_PARAMS, PAGE_VAR, ERROR_FLAG, IS_POPUP_VAR, BEFORE, AFTER}

#: How filters are called, those of the form in its order.
LABELS: dict[str, str | Promise] = {
    "status": gettext_lazy("status"),
    "queue": gettext_lazy("queue"),
    "task": gettext_lazy("task"),
    "tag": gettext_lazy("tag"),
    "creator": gettext_lazy("creator"),
    "schedule": gettext_lazy("schedule"),
    "worker": gettext_lazy("worker"),
    "exception": gettext_lazy("exception"),
    "min_attempts": gettext_lazy("attempts, at least"),
    "enqueued_after": gettext_lazy("enqueued after"),
    "enqueued_before": gettext_lazy("enqueued before"),
    "finished_after": gettext_lazy("finished after"),
    "finished_before": gettext_lazy("finished before"),
    "attempts": gettext_lazy("attempts"),
    "parent": gettext_lazy("enqueued by"),
    "search": gettext_lazy("search"),
}


def selection_of(request: HttpRequest, upto: UUID | None = None) -> Selection:
    """Which jobs the address asks for.

    Args:
        upto: no job that was made after this one.

    Raises:
        SelectionError: it says something that cannot be understood.
    """
    params = {
        name: str(value)
        for name, value in request.GET.items()
        if name not in _NO_FILTERS
    }
    if "search" in params:
        raise SelectionError(_("There is no filter “{}”.").format("search"))
    params["search"] = request.GET.get(SEARCH_VAR, "")
    return Selection.from_params(
        params, sees_arguments=may(request, VIEW_ARGUMENTS), upto=upto
    )


@dataclass(frozen=True)
class Chip:
    """A filter that is set: how it is called, its value, and the list without it."""

    name: str
    label: str
    value: str
    without: str = ""


class MoreFilters(forms.Form):
    """Filters that have no useful list of choices."""

    tag = forms.CharField(required=False)
    creator = forms.CharField(required=False)
    schedule = forms.CharField(required=False)
    worker = forms.CharField(required=False)
    exception = forms.CharField(required=False)
    min_attempts = forms.IntegerField(required=False, min_value=0)
    enqueued_after = forms.CharField(required=False)
    enqueued_before = forms.CharField(required=False)
    finished_after = forms.CharField(required=False)
    finished_before = forms.CharField(required=False)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(label_suffix="", **kwargs)
        for name, field in self.fields.items():
            field.label = capfirst(str(LABELS[name]))
            if name.endswith(("_after", "_before")):
                field.widget = forms.DateTimeInput(
                    attrs={"type": "datetime-local", "step": 1}
                )
        examples = {
            "creator": "auth.user:42",
            "exception": "builtins.ValueError",
        }
        for name, example in examples.items():
            self.fields[name].widget.attrs["placeholder"] = example


class JobChangeList(ChangeList):
    """Goes from page to page by keys, and counts no further than one cares."""

    selection: Selection | None
    _walk: Walk | None
    _page: Page

    # -- what Django's list asks for, in this order

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        # To the sidebar, its own; all others would be lookups of the ORM.
        offered = {one.parameter_name for one in FILTERS}
        return {
            name: value
            for name, value in (params or self.filter_params).items()
            if name in offered
        }

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: Any = None
    ) -> QuerySet[Job]:
        """The jobs that an action takes, if it takes all that match."""
        for name in (BEFORE, AFTER):
            self.params.pop(name, None)
            self.filter_params.pop(name, None)
        self.filter_specs, self.has_filters, *_rest = self.get_filters(request)
        self.clear_all_filters_qs = "?"
        try:
            self.selection = selection_of(request)
        except SelectionError as error:
            self.selection = None
            if request.method == "GET":
                messages.error(request, str(error))
        self.has_active_filters = bool(self.chips)
        if self.selection is None:
            return self.root_queryset.none()
        return self.root_queryset.filter(self.selection.condition())

    def get_results(self, request: HttpRequest) -> None:
        self._walk = None if self.selection is None else walk(self.selection)
        self._page = self._page_at(request)
        # An error may quote what else is hidden.
        error = "error" if may(request, VIEW_ARGUMENTS) else "exception_class_path"
        self.result_list = self._jobs(self._page, error)
        self._count()
        self.full_result_count = self.result_count
        self.show_full_result_count = False
        self.show_admin_actions = bool(self.result_list)
        self.can_show_all = self.multi_page = False
        self.paginator = None

    def _page_at(self, request: HttpRequest) -> Page:
        if self._walk is None:
            return Page()
        before, after = _cursor(request, BEFORE), _cursor(request, AFTER)
        return self._walk.page(self.list_per_page, before=before, after=after)

    def _jobs(self, page: Page, error: str) -> list[Job]:
        last_error = Attempt.objects.filter(job=OuterRef("pk")).order_by("-id")
        rows = self.root_queryset.filter(pk__in=page.ids).order_by()
        found = rows.defer("args", "kwargs", "progress", "result", "metadata").annotate(
            last_error=Subquery(last_error.values(error)[:1])
        )
        by_id = {job.pk: job for job in found}
        # Some may be gone since.
        return [by_id[pk] for pk in page.ids if pk in by_id]

    def _count(self) -> None:
        """Unless it is known already; behind the first page nobody asks any more."""
        page = self._page
        self.result_count = len(self.result_list)
        self.is_more = page.newer is not None or page.older is not None
        if self._walk and page.is_first and self.is_more and not page.is_cut:
            counted = self._walk.count()
            self.is_more = counted.is_more
            self.result_count = max(counted.number, self.result_count)

    # -- what the templates ask for

    @property
    def number_text(self) -> str:
        """How many jobs there are, as far as anybody looked."""
        if not self._page.is_first or (self.is_more and not self.result_count):
            return ""
        if not self.is_more:
            text = ngettext("{count} job", "{count} jobs", self.result_count)
        elif self.result_count >= walking.BUDGET:
            text = ngettext(
                "more than {count} job", "more than {count} jobs", self.result_count
            )
        else:
            text = ngettext(
                "at least {count} job", "at least {count} jobs", self.result_count
            )
        return text.format(count=number(self.result_count))

    @property
    def newest_url(self) -> str | None:
        """The first page, unless this is it."""
        return None if self._page.newer is None else self.get_query_string()

    @property
    def newer_url(self) -> str | None:
        """The page before this one."""
        return self._url(AFTER, self._page.newer)

    @property
    def older_url(self) -> str | None:
        """The page behind this one."""
        return self._url(BEFORE, self._page.older)

    @property
    def is_cut(self) -> bool:
        """Whether the page ended because of all that it had to pass over."""
        return self._page.is_cut

    @property
    def budget(self) -> str:
        """How many it passes over at the most."""
        return "" if self._walk is None else number(self._walk.budget)

    @property
    def by_end(self) -> bool:
        """Whether jobs are in the order of their ends."""
        return self._walk is not None and self._walk.by_end

    @cached_property
    def chips(self) -> list[Chip]:
        """The filters that are set, and the list without each."""
        return [
            replace(chip, without=self._without(chip.name))
            for chip in ([] if self.selection is None else chips_of(self.selection))
        ]

    def _without(self, name: str) -> str:
        return self.get_query_string({SEARCH_VAR if name == "search" else name: None})

    @cached_property
    def more_filters(self) -> MoreFilters:
        """The form for those that have no list of choices."""
        given = {name: self.params.get(name, "") for name in MoreFilters.base_fields}
        if self.selection is not None:
            # Times as the browser's field wants them, in the reader's time zone.
            for name in given:
                value = getattr(self.selection, name)
                if value and name.endswith(("_after", "_before")):
                    given[name] = moment(value).replace(" ", "T")
        return MoreFilters(initial=given, auto_id="filter_%s")

    @property
    def has_more_filters(self) -> bool:
        """Whether one of that form is set."""
        return any(self.params.get(name) for name in MoreFilters.base_fields)

    @property
    def other_params(self) -> list[tuple[str, str]]:
        """What that form has to keep of the address."""
        return [
            (name, value)
            for name, value in self.params.items()
            if name not in MoreFilters.base_fields
        ]

    def _url(self, side: str, cursor: Cursor | None) -> str | None:
        return None if cursor is None else self.get_query_string({side: str(cursor)})


def chips_of(selection: Selection) -> list[Chip]:
    """The filters of ``selection``."""
    params = selection.as_params()
    return [
        Chip(
            name, capfirst(str(LABELS[name])), _described(selection, name, params[name])
        )
        for name in LABELS
        if name in params
    ]


def described(selection: Selection) -> str:
    """The filters of ``selection``, in a line that all may see who may see jobs.

    What is searched for may be an argument, or a text in an error.
    """
    sought = selection.sought
    hidden = (
        {"search"} if sought and selection.sees_arguments and not sought.ids else ()
    )
    return ", ".join(
        f"{LABELS[chip.name]}: {'…' if chip.name in hidden else chip.value}"
        for chip in chips_of(selection)
    )


def _described(selection: Selection, name: str, text: str) -> str:
    if name == "status":
        return ", ".join(str(Status(one).label) for one in selection.status)
    if name.endswith(("_after", "_before")):
        return moment(getattr(selection, name))
    return text


def _cursor(request: HttpRequest, name: str) -> Cursor | None:
    text = request.GET.get(name)
    if not text:
        return None
    try:
        return Cursor.from_text(text)
    except ValueError:
        # A link that somebody has cut: then it is that of the first page.
        return None


def address_without_blanks(request: HttpRequest) -> str | None:
    """Where to go instead, if the address has filters that say nothing.

    A form sends all its fields.
    """
    params = request.GET
    said = [
        (name, value)
        for name, value in params.items()
        if value or name not in PARAMETERS
    ]
    if len(said) == len(params):
        return None
    return f"{request.path}?{urlencode(said)}"


# -- the sidebar


class _Filter(admin.SimpleListFilter):
    """Choices for one parameter of the selection, which does the filtering itself."""

    parameter_name: str

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        return None

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, Any]]:
        # What the address asks for is offered too, so that it shows as chosen.
        chosen = self.value()
        names = {*self.names()} if chosen is None else {*self.names(), chosen}
        return [(name, name) for name in sorted(names)]

    def names(self) -> Iterable[str]:
        return ()


class StatusFilter(_Filter):
    title = gettext_lazy("status")
    parameter_name = "status"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, Any]]:
        return list(Status.choices)


class QueueFilter(_Filter):
    """Offers the queues of the tasks, those with a row, and those with READY jobs.

    ``SELECT DISTINCT queue`` would read every job there ever was. A queue that is
    none of these has nothing but history; ``?queue=name`` shows that too.
    """

    title = gettext_lazy("queue")
    parameter_name = "queue"

    def names(self) -> Iterable[str]:
        yield from (task.queue_name for task in registered_tasks())
        yield from Queue.objects.values_list("name", flat=True)
        yield from get_engine().ready_queues()


class TaskFilter(_Filter):
    """Offers the tasks there are, not the tasks there are jobs of: that is in no index."""

    title = gettext_lazy("task")
    parameter_name = "task"

    def names(self) -> Iterable[str]:
        return (task.path for task in registered_tasks())


FILTERS = (StatusFilter, QueueFilter, TaskFilter)
