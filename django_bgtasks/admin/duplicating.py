"""A new job like one that was, with what somebody changes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.admin import helpers
from django.contrib.admin.widgets import AdminSplitDateTime, AdminTextareaWidget
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_bgtasks._framework import InvalidTask
from django_bgtasks.admin.display import check_moment, visible_call
from django_bgtasks.admin.job_actions import JobActions
from django_bgtasks.admin.permissions import VIEW_ARGUMENTS, may
from django_bgtasks.admin.reporting import back_to_page, log
from django_bgtasks.arguments import normalize_call
from django_bgtasks.encoding import decode
from django_bgtasks.exceptions import AlreadyEnqueued, CannotDecode
from django_bgtasks.housekeeping import GUARDED
from django_bgtasks.labels import NAME_LIMIT, TAGS_LIMIT
from django_bgtasks.models import Job
from django_bgtasks.models.job import Status
from django_bgtasks.redaction import MASK
from django_bgtasks.results import TaskResult
from django_bgtasks.store.engines import get_engine
from django_bgtasks.tasks import QUEUE_LIMIT, Task, find_task

#: Nobody adds a job from nothing; with this permission one is made of another.
ADD = "add_job"

#: What is said when a job cannot be enqueued so: by its task, by JSON, by its options.
REFUSALS = (TypeError, CannotDecode, InvalidTask, ImproperlyConfigured)

T = TypeVar("T")

_FIELDS = (
    ("args", "kwargs"),
    (("queue_name", "priority"), "run_after"),
    ("verbose_name", "tags"),
)
_TITLES = (gettext_lazy("Call"), gettext_lazy("When"), gettext_lazy("Labels"))


_JSON = {"rows": 6, "class": "vLargeTextField bgtasks-json", "spellcheck": "false"}
_WIDE = {"class": "vTextField"}


class DuplicateForm(forms.Form):
    """The call of a job and the options of its own, to be changed."""

    args = forms.CharField(
        label=gettext_lazy("Arguments"),
        widget=AdminTextareaWidget(attrs=_JSON),
        help_text=gettext_lazy('As JSON, a list: [42, "text"].'),
    )
    kwargs = forms.CharField(
        label=gettext_lazy("Keyword arguments"),
        widget=AdminTextareaWidget(attrs=_JSON),
        help_text=gettext_lazy('As JSON: {"name": "value"}.'),
    )
    queue_name = forms.CharField(label=gettext_lazy("Queue"), max_length=QUEUE_LIMIT)
    priority = forms.IntegerField(
        label=gettext_lazy("Priority"),
        min_value=-100,
        max_value=100,
        help_text=gettext_lazy("From -100 to 100, higher runs first."),
    )
    run_after = forms.SplitDateTimeField(
        label=gettext_lazy("Not before"),
        required=False,
        widget=AdminSplitDateTime,
        validators=[check_moment],
        help_text=gettext_lazy("Empty: as the task says, mostly at once."),
    )
    verbose_name = forms.CharField(
        label=gettext_lazy("Name"),
        required=False,
        max_length=NAME_LIMIT,
        widget=forms.TextInput(attrs=_WIDE),
    )
    tags = forms.CharField(
        label=gettext_lazy("Tags"),
        required=False,
        max_length=TAGS_LIMIT,
        widget=forms.TextInput(attrs=_WIDE),
        help_text=gettext_lazy("With commas between them."),
    )

    def __init__(self, job: Job, task: Task[Any, Any], data: Any = None) -> None:
        super().__init__(data, initial=_initial(job))
        # Whom it was for, and where jobs of its kind are kept, stays.
        self._task = task.using(backend=job.backend, creator=job.creator)

    def clean_args(self) -> list[Any]:
        given: list[Any] = _parsed(self.cleaned_data["args"], list)
        self._refuse_masks(given)
        return self._as_values(given, lambda args: normalize_call(args, {}))

    def clean_kwargs(self) -> dict[str, Any]:
        given: dict[str, Any] = _parsed(self.cleaned_data["kwargs"], dict)
        self._refuse_masks(given.values())
        return self._as_values(given, lambda kwargs: normalize_call([], kwargs))

    def clean_tags(self) -> list[str]:
        tags = [tag.strip() for tag in self.cleaned_data["tags"].split(",")]
        return self._checked("tags", [tag for tag in tags if tag])

    def clean_queue_name(self) -> str:
        name: str = self.cleaned_data["queue_name"]
        return self._checked("queue_name", name)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if "args" in cleaned and "kwargs" in cleaned:
            try:
                self._task.check_arguments(cleaned["args"], cleaned["kwargs"])
            except TypeError as error:
                self.add_error("args", str(error))
        return cleaned

    def enqueue(self) -> TaskResult[Any, Any]:
        """Enqueue what the form says, if it is valid.

        Raises:
            AlreadyEnqueued, and those of ``REFUSALS``: it cannot be enqueued.
        """
        options = dict(self.cleaned_data)
        args, kwargs = options.pop("args"), options.pop("kwargs")
        return self._task.using(**options).enqueue(*args, **kwargs)

    def _as_values(self, given: T, check: Callable[[T], object]) -> T:
        """What is given, as the values that a caller would pass."""
        try:
            values: T = decode(given)
            check(values)
        except REFUSALS as error:
            raise forms.ValidationError(str(error)) from None
        return values

    def _refuse_masks(self, values: Iterable[Any]) -> None:
        # Kept from the row, a secret could be sent to wherever another argument says.
        if self._task.redaction is not None and MASK in values:
            raise forms.ValidationError(
                _(
                    "Sensitive arguments are not copied: type a value in place of "
                    "each {mask}."
                ).format(mask=MASK)
            )

    def _checked(self, option: str, value: T) -> T:
        """``value``, if the task takes it as this option."""
        try:
            self._task.using(**{option: value})
        except REFUSALS as error:
            raise forms.ValidationError(str(error)) from None
        return value


class JobDuplicating(JobActions):
    """The button "Duplicate" of a job's page, and the form behind it."""

    def has_duplicate_permission(
        self, request: HttpRequest, job: Job | None = None
    ) -> bool:
        """Whether who asks may make a job of another, whose arguments it shows."""
        if job is not None and job.task in GUARDED:
            return False
        return may(request, ADD) and may(request, VIEW_ARGUMENTS)

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_duplicate"
        view = self.admin_site.admin_view(self.duplicate_view)
        return [path("<uuid:pk>/duplicate/", view, name=name), *super().get_urls()]

    def duplicate_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """The form, and what it posts to."""
        job = self.get_object(request, str(pk))
        if not self.has_view_permission(request, job):
            raise PermissionDenied
        if not self.has_duplicate_permission(request, job):
            raise PermissionDenied
        if job is None:
            raise Http404
        task = find_task(job.task)
        if task is None:
            text = _("There is no task {name} here.").format(name=job.task)
            self.message_user(request, text, messages.ERROR)
            return back_to_page(self, request, pk)
        try:
            form = DuplicateForm(job, task, request.POST or None)
        except REFUSALS as error:
            self.message_user(request, str(error), messages.ERROR)
            return back_to_page(self, request, pk)
        if form.is_valid() and (made := self._enqueue(request, job, form)):
            return back_to_page(self, request, made)
        return self._form_page(request, job, form)

    def _enqueue(
        self, request: HttpRequest, job: Job, form: DuplicateForm
    ) -> str | None:
        """The id of the job that was made, or stands for it; None if there is none."""
        try:
            with get_engine().transaction():
                result = form.enqueue()
                self._report(request, job, result)
        except (AlreadyEnqueued, *REFUSALS) as error:
            form.add_error(None, str(error))
            return None
        return str(result.id)

    def _report(
        self, request: HttpRequest, job: Job, result: TaskResult[Any, Any]
    ) -> None:
        if result.was_deduplicated:
            text = _("The same job was there already: this one.")
            self.message_user(request, text, messages.WARNING)
            return
        log(request, [job], _("Duplicated as {id}.").format(id=result.id))
        made = Job.objects.using(get_engine().alias).filter(pk=result.id)
        log(
            request, list(made), _("Enqueued as a duplicate of {id}.").format(id=job.pk)
        )
        text = _("The job was enqueued. This is its page.")
        self.message_user(request, text, messages.SUCCESS)

    def _form_page(
        self, request: HttpRequest, job: Job, form: DuplicateForm
    ) -> HttpResponse:
        fieldsets = [
            (title, {"fields": fields})
            for title, fields in zip(_TITLES, _FIELDS, strict=True)
        ]
        # The stubs know it for forms of models only.
        make: Any = helpers.AdminForm
        shown = make(form, fieldsets, {}, model_admin=self)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Duplicate job"),
            "subtitle": job.task,
            "opts": self.opts,
            "original": job,
            "has_view_permission": True,
            "adminform": shown,
            "errors": form.errors,
            "media": self.media + shown.media,
            "preserved_filters": self.get_preserved_filters(request),
        }
        template = "admin/django_bgtasks/job/duplicate.html"
        return TemplateResponse(request, template, context)


def _initial(job: Job) -> dict[str, Any]:
    args, kwargs = visible_call(job)
    is_ahead = job.status == Status.SCHEDULED and job.started_at is None
    return {
        "args": _as_text(args),
        "kwargs": _as_text(kwargs),
        "queue_name": job.queue,
        "priority": job.priority,
        "run_after": job.run_after if is_ahead else None,
        "verbose_name": job.verbose_name,
        "tags": ", ".join(job.tags),
    }


def _as_text(value: Any) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    # As JSON writes them, too: no page can hold lone surrogates.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _parsed(text: str, kind: type[T]) -> T:
    """``text`` as a list or a dict."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        text = _("This is no JSON: {problem} (line {line}, column {column}).")
        text = text.format(problem=error.msg, line=error.lineno, column=error.colno)
        raise forms.ValidationError(text) from None
    except (ValueError, RecursionError):
        # A number with thousands of digits, or thousands of brackets.
        raise forms.ValidationError(_("This is too much.")) from None
    if not isinstance(value, kind):
        is_list = kind is list
        text = _("It must be a list in JSON.")
        raise forms.ValidationError(
            text if is_list else _("It must be an object in JSON.")
        )
    return value
