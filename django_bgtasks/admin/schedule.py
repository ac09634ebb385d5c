"""Schedules: the list, the page of one, and its form."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import (
    BooleanField,
    Case,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from django_bgtasks.admin.display import (
    ARGUMENTS_HIDDEN,
    NOTHING,
    badge,
    masked,
    moment,
    one_line,
    pretty_json,
    recent_moment,
    visible_call,
)
from django_bgtasks.admin.permissions import VIEW_ARGUMENTS, may, may_view
from django_bgtasks.admin.schedule_actions import ScheduleActions
from django_bgtasks.admin.schedule_form import (
    ZONES_ID,
    ScheduleForm,
    preview,
    zone_names,
)
from django_bgtasks.admin.sparkline import LENGTH, listed, sparkline, summary
from django_bgtasks.admin.upcoming import upcoming
from django_bgtasks.exceptions import InvalidSchedule
from django_bgtasks.models import Job, Schedule
from django_bgtasks.models.job import Status
from django_bgtasks.models.schedule import Source
from django_bgtasks.store import schedules
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.history import last_jobs
from django_bgtasks.tasks import find_task, secrets_of
from django_bgtasks.wording import duration, interval

#: Marks the fields after which the next runs are listed.
WHEN = "bgtasks-when"


class State(models.TextChoices):
    """Whether the ticks of a schedule get jobs."""

    ACTIVE = "active", gettext_lazy("Active")
    PAUSED = "paused", gettext_lazy("Paused")
    PROBLEM = "problem", gettext_lazy("Problem")
    OVER = "over", gettext_lazy("Over")


#: The first that applies.
_STATE = Case(
    When(paused_at__isnull=False, then=Value(State.PAUSED)),
    When(~Q(problem=""), then=Value(State.PROBLEM)),
    When(next_due=None, then=Value(State.OVER)),
    default=Value(State.ACTIVE),
)

_SO_FAR = ("state_now", "next_run", "last_run", "last_job_link")
_CALL = ("arguments", "keyword_arguments")
#: No address of the list may ask for what is in these: a problem may quote an argument.
_UNSOUGHT = ("args", "kwargs", "problem")
#: Instead of that, for who may not see it.
_HIDDEN_CALL = "hidden_call"
#: Where the admin's user may not change the row, or nobody may, here.
_TO_READ: tuple[Any, ...] = (
    (
        None,
        {
            "fields": (("name", "task_name", "source"), ("when", *_SO_FAR)),
            "classes": (WHEN,),
        },
    ),
    (
        gettext_lazy("Bounds"),
        {"fields": (("start_on", "end_on", "missed", "overlap"),)},
    ),
    (
        gettext_lazy("Jobs"),
        {
            "fields": (
                *_CALL,
                ("queue_of_jobs", "priority_of_jobs", "longest_wait"),
            )
        },
    ),
)
_WHEN_FIELDS = (("cron", "timezone"), ("every", "phase"), ("at", "start", "end"))
_TO_WRITE: tuple[Any, ...] = (
    (None, {"fields": ("name", "task", "args", "kwargs")}),
    (
        gettext_lazy("When: one of cron, every, or once"),
        {"fields": _WHEN_FIELDS, "classes": (WHEN,)},
    ),
    (
        gettext_lazy("Jobs"),
        {
            "fields": (
                ("queue_name", "priority"),
                ("jitter", "missed", "overlap"),
            )
        },
    ),
)
#: Whom a reader of a declared schedule has to ask.
_DECLARED = {
    Source.SETTINGS: gettext_lazy(
        "This schedule is declared in settings, under BGTASKS['PERIODIC']. It is changed "
        "there; from here it can be run, paused and resumed."
    ),
    Source.CODE: gettext_lazy(
        "This schedule is declared in code, by @background(...) of its task. It is "
        "changed there; from here it can be run, paused and resumed."
    ),
}


class ScheduleChangeList(ChangeList):
    """Looks up the last jobs of all schedules on the page at once."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        shown: list[Any] = list(self.result_list)
        past = last_jobs([schedule.pk for schedule in shown], LENGTH)
        now = timezone.now()
        for schedule in shown:
            schedule.last_jobs_drawn = sparkline(past[schedule.pk], now)
        self.result_list = shown


class StateFilter(admin.SimpleListFilter):
    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, Any]]:
        return list(State.choices)

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> QuerySet[Any] | None:
        value = self.value()
        return None if value is None else queryset.filter(state=value)


class OwnerFilter(admin.ChoicesFieldListFilter):
    """Django's own, whose title would be "By owned by"."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = _("owner")


@admin.register(Schedule)
class ScheduleAdmin(ScheduleActions):
    """Schedules of the admin are made and changed here, all others looked at.

    Any can be run, paused and resumed.
    """

    form = ScheduleForm
    list_display = (
        "name",
        # What one looks for first stays in sight on a narrow screen.
        "state_badge",
        "when",
        "next_run",
        "last_job_link",
        "last_jobs_drawn",
        "last_run",
        "task",
        "source",
    )
    list_filter = (StateFilter, ("source", OwnerFilter))
    search_fields = ("name", "task")
    list_per_page = 50

    class Media:
        css = {"all": ("django_bgtasks/admin.css",)}
        js = ("django_bgtasks/schedule.js",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Schedule]:
        job = Job.objects.filter(pk=OuterRef("last_job"))
        return (
            super()
            .get_queryset(request)
            .annotate(
                state=_STATE,
                last_job_status=Subquery(job.values("status")),
                links_to_jobs=Value(may_view(request, Job), BooleanField()),
            )
        )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type:
        return ScheduleChangeList

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Not by arguments: to find a schedule by one would be to see it."""
        if lookup.partition("__")[0] in _UNSOUGHT:
            return False
        return super().lookup_allowed(lookup, value, request)

    # -- the form

    def get_fieldsets(self, request: HttpRequest, obj: Schedule | None = None) -> Any:
        if obj is None:
            return _TO_WRITE
        if not self.has_change_permission(request, obj):
            return _TO_READ if may(request, VIEW_ARGUMENTS) else _without_call()
        return ((None, {"fields": (_SO_FAR,)}), *_TO_WRITE)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ()
        if not self.has_change_permission(request, obj):
            return (*flatten_fieldsets(_TO_READ), _HIDDEN_CALL)
        # The name is the key: with another one, it would be another schedule.
        return ("name", *_SO_FAR)

    def get_form(
        self,
        request: HttpRequest,
        obj: Schedule | None = None,
        change: bool = False,
        **kwargs: Any,
    ) -> Any:
        if change and not self.has_change_permission(request, obj):
            kwargs["form"] = forms.ModelForm
        return super().get_form(request, obj, change=change, **kwargs)

    def changeform_view(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if request.method != "POST":
            return super().changeform_view(request, *args, **kwargs)
        # On SQLite, Django's own transaction could not write once the scheduler did.
        with get_engine().transaction():
            return super().changeform_view(request, *args, **kwargs)

    def save_model(
        self, request: HttpRequest, obj: Schedule, form: Any, change: bool
    ) -> None:
        schedules.save(obj)

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_preview"
        view = self.admin_site.admin_view(self.preview_view)
        return [path("preview/", view, name=name), *super().get_urls()]

    @method_decorator(require_GET)
    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """What the form asks while somebody types a rule."""
        if not (
            self.has_add_permission(request) or self.has_change_permission(request)
        ):
            raise PermissionDenied
        return JsonResponse(preview(request.GET))

    # -- the page of one

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        schedule: Schedule | None = kwargs["obj"]
        is_form = schedule is None or self.has_change_permission(request, schedule)
        context |= {"when": WHEN, "zones_id": ZONES_ID}
        if is_form:
            context["zones"] = zone_names()
        if schedule is not None:
            context |= {
                "upcoming": _upcoming(schedule),
                "declared": _DECLARED.get(Source(schedule.source), ""),
                "problem": masked(schedule.problem, secrets_of(schedule)),
                "show_steering": self.has_steer_permission(request),
                "may_view_jobs": may_view(request, Job),
                "history": _history(schedule, with_links=may_view(request, Job)),
                "jobs_query": urlencode({"schedule": schedule.pk}),
            }
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=gettext_lazy("state"), ordering="state")
    def state_badge(self, schedule: Any) -> SafeString:
        return badge(schedule.state, str(State(schedule.state).label))

    @admin.display(description=gettext_lazy("state"))
    def state_now(self, schedule: Any) -> SafeString:
        shown = self.state_badge(schedule)
        if schedule.paused_at is None:
            return shown
        note = format_html(_("since {time}"), time=recent_moment(schedule.paused_at))
        return format_html('{} <span class="bgtasks-note">{}</span>', shown, note)

    @admin.display(description=gettext_lazy("when"))
    def when(self, schedule: Schedule) -> str:
        try:
            rule = schedule.rule
        except InvalidSchedule as error:
            return one_line(str(error))
        if rule.cron:
            return format_html(
                '<code>{}</code> <span class="bgtasks-note">{}</span>',
                rule.cron,
                rule.zone,
            )
        if rule.every is None:
            return format_html(_("once, at {time}"), time=moment(schedule.at))
        every = _("every {time}").format(time=interval(rule.every))
        if not rule.phase:
            return every
        return _("{every}, {phase} after its beginning").format(
            every=every, phase=interval(rule.phase)
        )

    @admin.display(description=gettext_lazy("next run"), ordering="next_due")
    def next_run(self, schedule: Any) -> str:
        # While there is a problem, nobody looks at it then.
        is_due = schedule.state == State.ACTIVE
        return recent_moment(schedule.next_due) if is_due else NOTHING

    @admin.display(description=gettext_lazy("last run"), ordering="last_due")
    def last_run(self, schedule: Schedule) -> str:
        return recent_moment(schedule.last_due)

    @admin.display(description=gettext_lazy("last job"))
    def last_job_link(self, schedule: Any) -> str:
        if schedule.last_job is None:
            return NOTHING
        if schedule.last_job_status is None:
            return _("deleted")
        status = Status(schedule.last_job_status)
        shown = badge(status, str(status.label))
        if not schedule.links_to_jobs:
            return shown
        url = reverse("admin:django_bgtasks_job_change", args=[schedule.last_job])
        return format_html('<a href="{}">{}</a>', url, shown)

    @admin.display(description=gettext_lazy("last jobs"))
    def last_jobs_drawn(self, schedule: Any) -> str:
        return str(schedule.last_jobs_drawn)

    @admin.display(description=gettext_lazy("task"))
    def task_name(self, schedule: Schedule) -> str:
        if find_task(schedule.task) is not None:
            return schedule.task
        return format_html(
            '{} <span class="bgtasks-note">{}</span>',
            schedule.task,
            _("There is no task of this name here."),
        )

    # A page to read hides what is sensitive of the arguments. The form shows them as
    # they are: who may change a schedule may let its task have any, and could not
    # change the others without seeing these.

    @admin.display(description=gettext_lazy("arguments"))
    def arguments(self, schedule: Schedule) -> SafeString:
        return pretty_json(visible_call(schedule)[0])

    @admin.display(description=gettext_lazy("keyword arguments"))
    def keyword_arguments(self, schedule: Schedule) -> SafeString:
        return pretty_json(visible_call(schedule)[1])

    @admin.display(description=gettext_lazy("arguments"))
    def hidden_call(self, schedule: Schedule) -> str:
        return str(ARGUMENTS_HIDDEN)

    @admin.display(description=gettext_lazy("not before"))
    def start_on(self, schedule: Schedule) -> str:
        return moment(schedule.start)

    @admin.display(description=gettext_lazy("not after"))
    def end_on(self, schedule: Schedule) -> str:
        return moment(schedule.end)

    @admin.display(description=gettext_lazy("queue"))
    def queue_of_jobs(self, schedule: Schedule) -> str:
        return schedule.queue_name or _("that of the task")

    @admin.display(description=gettext_lazy("priority"))
    def priority_of_jobs(self, schedule: Schedule) -> str:
        if schedule.priority is None:
            return _("that of the task")
        return str(schedule.priority)

    @admin.display(description=gettext_lazy("jitter"))
    def longest_wait(self, schedule: Schedule) -> str:
        return duration(schedule.jitter) if schedule.jitter else NOTHING


def _without_call() -> Any:
    """What is read of a schedule by those who may not see its arguments."""
    *rest, (title, jobs) = _TO_READ
    others = [line for line in jobs["fields"] if line not in _CALL]
    return (*rest, (title, {"fields": (_HIDDEN_CALL, *others)}))


def _history(schedule: Schedule, *, with_links: bool) -> dict[str, Any]:
    """How its last jobs went: drawn, in a sentence, one by one."""
    jobs = last_jobs([schedule.pk], LENGTH)[schedule.pk]
    now = timezone.now()
    return {
        "drawing": sparkline(jobs, now),
        "summary": summary(jobs, now),
        "jobs": listed(jobs, now, with_links=with_links),
    }


def _upcoming(schedule: Schedule) -> dict[str, Any]:
    """The next runs by the rule of the row, or what is wrong with that."""
    try:
        return {**upcoming(schedule.rule)}
    except InvalidSchedule as error:
        return {"error": str(error)}
