"""The form of a schedule, and what it says of a rule while that is typed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.contrib.admin.widgets import AdminSplitDateTime, AdminTextareaWidget
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_bgtasks import timing
from django_bgtasks.admin.upcoming import upcoming
from django_bgtasks.exceptions import InvalidSchedule
from django_bgtasks.housekeeping import GUARDED
from django_bgtasks.models import Schedule
from django_bgtasks.periodic import declared
from django_bgtasks.tasks import registered_tasks
from django_bgtasks.timing import as_aware

#: The id of the list of time zones in the page.
ZONES_ID = "bgtasks-zones"

_RULE = ("cron", "every", "phase", "at", "timezone", "start", "end")
_MOMENTS = ("at", "start", "end")
#: Left empty, these mean what a new schedule has.
_OPTIONAL = ("args", "kwargs", "phase", "jitter")
_DURATIONS = gettext_lazy(
    "For example 90 (seconds), 00:30:00 (half an hour) or 1 00:00:00 (a day)."
)

if TYPE_CHECKING:
    _Base = forms.ModelForm[Schedule]
else:
    _Base = forms.ModelForm


class RuleForm(_Base):
    """When a schedule is due."""

    class Meta:
        model = Schedule
        fields: tuple[str, ...] = _RULE
        field_classes = dict.fromkeys(_MOMENTS, forms.SplitDateTimeField)
        widgets = {
            **dict.fromkeys(_MOMENTS, AdminSplitDateTime),
            "cron": forms.TextInput(
                attrs={"class": "vTextField bgtasks-cron", "spellcheck": "false"}
            ),
            "timezone": forms.TextInput(
                attrs={
                    "class": "vTextField",
                    "list": ZONES_ID,
                    "autocomplete": "off",
                    "spellcheck": "false",
                }
            ),
            "args": AdminTextareaWidget(attrs={"rows": 3, "class": "bgtasks-json"}),
            "kwargs": AdminTextareaWidget(attrs={"rows": 3, "class": "bgtasks-json"}),
        }
        help_texts = {
            "task": gettext_lazy("What is run: a task that is registered here."),
            "args": gettext_lazy('As JSON, a list: [42, "text"].'),
            "kwargs": gettext_lazy('As JSON: {"name": "value"}.'),
            "cron": gettext_lazy(
                "Minute, hour, day of month, month, day of week: 0 3 * * * is daily "
                "at 3. A sixth field is for seconds. @hourly, @daily and the like can "
                "be used, too."
            ),
            "every": _DURATIONS,
            "phase": gettext_lazy(
                "Only for intervals: how long after the beginning of each its run is, "
                "such as 00:15:00 for a quarter past each hour."
            ),
            "queue_name": gettext_lazy("Empty: the queue of the task."),
            "priority": gettext_lazy(
                "From -100 to 100, higher runs first. Empty: the priority of the task."
            ),
            "jitter": gettext_lazy(
                "Each job waits for a part of this time, so that not all begin at "
                "once. For example 60 (seconds) or 00:05:00."
            ),
            "missed": gettext_lazy(
                "Which runs get a job that nobody saw in time, as no scheduler ran."
            ),
            "overlap": gettext_lazy(
                "Whether a run gets a job while the last job is not finished."
            ),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        zone = settings.TIME_ZONE
        if settings.USE_TZ:
            zone = timezone.get_current_timezone_name()
        text = _("By the clocks of {zone}.").format(zone=zone)
        for name in _MOMENTS:
            self.fields[name].help_text = text
        text = _("The zone whose clocks the cron expression speaks of. Empty: {zone}.")
        self.fields["timezone"].help_text = text.format(zone=settings.TIME_ZONE)
        for field in self.fields.values():
            # What a new schedule has is no secret that the form has to remember.
            field.show_hidden_initial = False

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        for name in _OPTIONAL:
            if name in cleaned and cleaned[name] is None:
                cleaned[name] = getattr(Schedule(), name)
        if not self.errors:
            self._check(cleaned)
        return cleaned

    def _check(self, cleaned: Mapping[str, Any]) -> None:
        try:
            self._understand(Schedule(**{"name": self.instance.pk, **cleaned}))
        except InvalidSchedule as error:
            field = error.field if error.field in self.fields else None
            self.add_error(field, str(error))
            return
        at = cleaned["at"]
        # What has been, stays as it is: the row may be changed otherwise.
        if at and "at" in self.changed_data and as_aware(at) <= as_aware(timing.now()):
            self.add_error(
                "at", _("This time is in the past: it would never run. Choose a later.")
            )

    def _understand(self, schedule: Schedule) -> object:
        """Raise InvalidSchedule if something about it cannot be."""
        return schedule.rule


class ScheduleForm(RuleForm):
    """A schedule that is made or changed in the admin."""

    class Meta(RuleForm.Meta):
        fields = (
            "name",
            "task",
            "args",
            "kwargs",
            *_RULE,
            "queue_name",
            "priority",
            "jitter",
            "missed",
            "overlap",
        )

    task = forms.ChoiceField(
        label=gettext_lazy("Task"), help_text=RuleForm.Meta.help_texts["task"]
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        task: Any = self.fields["task"]
        # What the row says is offered, too, though nobody knows it here any more.
        known = {"", self.instance.task, *(task.path for task in registered_tasks())}
        offered = sorted(known - GUARDED)
        task.choices = [(path, path or "---------") for path in offered]

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        for one in declared():
            if one.name == name:
                raise forms.ValidationError(
                    _(
                        "{place} declares a schedule of this name. Choose another."
                    ).format(place=one.place)
                )
        return name

    def _understand(self, schedule: Schedule) -> object:
        return schedule.as_periodic().bound_task()


def preview(data: Mapping[str, Any]) -> dict[str, Any]:
    """What to say of a rule as somebody types it into the form: its next runs, or why not.

    Returns:
        ``{"summary": ..., "runs": [...]}``, or ``{"error": {"field", "message"}}``.
    """
    form = RuleForm(data)
    if form.is_valid():
        return {**upcoming(form.instance.rule)}
    field, messages = next(iter(form.errors.items()))
    return {"error": {"field": field, "message": str(messages[0])}}


@cache
def zone_names() -> list[str]:
    """All time zones there are, for the page's list. The computer is asked once."""
    return sorted(available_timezones())
