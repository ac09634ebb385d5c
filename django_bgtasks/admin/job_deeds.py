"""What can be done to jobs from the list: what is asked before it, and said after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy, ngettext_lazy

from django_bgtasks.admin.display import check_moment
from django_bgtasks.admin.reporting import tell
from django_bgtasks.admin.steering import Done, Wish
from django_bgtasks.wording import moment


class Options(forms.Form):
    """What a deed asks for. Most ask for nothing."""

    def options(self) -> dict[str, Any]:
        """The same as JSON."""
        return {}

    def note(self, text: str) -> str:
        """What a log says, with the options in it."""
        return text


class PriorityOptions(Options):
    priority = forms.IntegerField(
        label=gettext_lazy("Priority"),
        help_text=gettext_lazy("From -100 to 100; higher ones are claimed first."),
        min_value=-100,
        max_value=100,
        initial=0,
    )

    def options(self) -> dict[str, Any]:
        return {"priority": self.cleaned_data["priority"]}

    def note(self, text: str) -> str:
        return text.format(priority=self.cleaned_data["priority"])


class QueueOptions(Options):
    queue = forms.CharField(label=gettext_lazy("Queue"), max_length=100)

    def options(self) -> dict[str, Any]:
        return {"queue": self.cleaned_data["queue"]}

    def note(self, text: str) -> str:
        return text.format(queue=self.cleaned_data["queue"])


class TimeOptions(Options):
    run_after = forms.DateTimeField(
        label=gettext_lazy("Not before"),
        help_text=gettext_lazy("A time that is past means at once."),
        validators=[check_moment],
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": 1}),
    )

    def options(self) -> dict[str, Any]:
        return {"run_after": self.cleaned_data["run_after"].isoformat()}

    def note(self, text: str) -> str:
        return text.format(time=moment(self.cleaned_data["run_after"]))


@dataclass(frozen=True)
class JobDeed:
    """A deed of the store's, as the admin offers it.

    Args:
        name: the store's.
        permission: what one needs to be allowed, as ``has_..._permission`` has it.
        label: the choice in the list of actions.
        question: the title of the page that asks before it is done.
        note: what logs say of it.
        done: what is said about each of its counts.
        left: what is said about jobs that it cannot be done to.
        asks: whether to ask first, even if it is for a few jobs.
        form: for what else it asks.
    """

    name: str
    permission: str
    label: str | Promise
    question: str | Promise
    note: str | Promise
    done: Mapping[str, Any]
    left: Any
    asks: bool = True
    form: type[Options] = field(default=Options)

    def wish(self, form: Options) -> Wish:
        """What is wanted, by a form that is filled in."""
        return Wish(self.name, form.note(str(self.note)), form.options())

    def tell(self, request: HttpRequest, done: Done) -> None:
        """Say what was done."""
        for name, sentence in self.done.items():
            tell(request, sentence, done.counts.get(name, 0))
        tell(request, self.left, done.left, messages.WARNING)


RUNNING_STAY = ngettext_lazy(
    "%(count)d running job cannot be deleted. Stop it first.",
    "%(count)d running jobs cannot be deleted. Stop them first.",
    "count",
)
NOT_WAITING = ngettext_lazy(
    "%(count)d job was not waiting and was left as it was.",
    "%(count)d jobs were not waiting and were left as they were.",
    "count",
)

RETRY = JobDeed(
    "retry",
    "retry",
    gettext_lazy("Retry selected %(verbose_name_plural)s"),
    gettext_lazy("Retry these jobs?"),
    gettext_lazy("Retried."),
    {
        "retried": ngettext_lazy(
            "%(count)d job will be retried.", "%(count)d jobs will be retried.", "count"
        )
    },
    ngettext_lazy(
        "%(count)d job was neither failed nor cancelled and was left as it was.",
        "%(count)d jobs were neither failed nor cancelled and were left as they were.",
        "count",
    ),
    asks=False,
)
CANCEL = JobDeed(
    "cancel",
    "cancel",
    gettext_lazy("Cancel selected %(verbose_name_plural)s"),
    gettext_lazy("Cancel these jobs?"),
    gettext_lazy("Cancelled."),
    {
        "cancelled": ngettext_lazy(
            "%(count)d job was cancelled.", "%(count)d jobs were cancelled.", "count"
        ),
        "asked": ngettext_lazy(
            "%(count)d running job was asked to stop.",
            "%(count)d running jobs were asked to stop.",
            "count",
        ),
    },
    ngettext_lazy(
        "%(count)d job had finished already and was left as it was.",
        "%(count)d jobs had finished already and were left as they were.",
        "count",
    ),
    asks=False,
)
RUN_NOW = JobDeed(
    "run_now",
    "steer",
    gettext_lazy("Run selected %(verbose_name_plural)s now"),
    gettext_lazy("Run these jobs now?"),
    gettext_lazy("Made ready before its time."),
    {
        "ready": ngettext_lazy(
            "%(count)d job was made ready.", "%(count)d jobs were made ready.", "count"
        )
    },
    ngettext_lazy(
        "%(count)d job was not scheduled for later and was left as it was.",
        "%(count)d jobs were not scheduled for later and were left as they were.",
        "count",
    ),
    asks=False,
)
SET_PRIORITY = JobDeed(
    "set_priority",
    "steer",
    gettext_lazy("Change the priority of selected %(verbose_name_plural)s"),
    gettext_lazy("Which priority shall these jobs have?"),
    gettext_lazy("Given the priority {priority}."),
    {
        "changed": ngettext_lazy(
            "The priority of %(count)d job was changed.",
            "The priority of %(count)d jobs was changed.",
            "count",
        )
    },
    NOT_WAITING,
    form=PriorityOptions,
)
MOVE = JobDeed(
    "move",
    "steer",
    gettext_lazy("Move selected %(verbose_name_plural)s to another queue"),
    gettext_lazy("To which queue shall these jobs be moved?"),
    gettext_lazy("Moved to the queue “{queue}”."),
    {
        "moved": ngettext_lazy(
            "%(count)d job was moved.", "%(count)d jobs were moved.", "count"
        )
    },
    NOT_WAITING,
    form=QueueOptions,
)
RESCHEDULE = JobDeed(
    "reschedule",
    "steer",
    gettext_lazy("Change the time of selected %(verbose_name_plural)s"),
    gettext_lazy("When shall these jobs run?"),
    gettext_lazy("Given the time {time}."),
    {
        "changed": ngettext_lazy(
            "The time of %(count)d job was changed.",
            "The time of %(count)d jobs was changed.",
            "count",
        )
    },
    NOT_WAITING,
    form=TimeOptions,
)
DELETE = JobDeed(
    "delete",
    "delete",
    gettext_lazy("Delete selected %(verbose_name_plural)s"),
    gettext_lazy("Are you sure you want to delete these jobs?"),
    gettext_lazy("Deleted."),
    {
        "deleted": ngettext_lazy(
            "%(count)d job was deleted.", "%(count)d jobs were deleted.", "count"
        )
    },
    RUNNING_STAY,
)
