"""What keeps the list of jobs quick, however many there are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from django_bgtasks.models import Attempt, Job, JobQuerySet, Queue
from django_bgtasks.models.job import Status
from django_bgtasks.store.engines import get_engine
from django_bgtasks.tasks import find_task, registered_tasks

#: How many jobs the list counts, and how far back it can be paged.
COUNT_LIMIT = 10_000

if TYPE_CHECKING:
    _Paginator = Paginator[Job]
else:
    _Paginator = Paginator


class CappedPaginator(_Paginator):
    """Neither counts a big table whole nor skips over most of it for a far page."""

    @cached_property
    def count(self) -> int:
        return min(self._counted, COUNT_LIMIT)

    @property
    def is_capped(self) -> bool:
        """Whether there are more than ``count``."""
        return self._counted > COUNT_LIMIT

    @cached_property
    def _counted(self) -> int:
        jobs = cast("QuerySet[Job]", self.object_list)
        return jobs.order_by().values("pk")[: COUNT_LIMIT + 1].count()


class JobChangeList(ChangeList):
    """Reads of each job what the list shows, and its last error with it."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        page = self.result_list
        if not self.multi_page:
            # Few or none of many. An index knows which, yet asked for their order too,
            # SQLite walks through the whole table along the ids.
            found = page.order_by().values_list("pk", flat=True)
            page = page.filter(pk__in=list(found))
        last_error = Attempt.objects.filter(job=OuterRef("pk")).order_by("-id")
        # Only now, when the page is cut out: neither counting nor an action needs it.
        self.result_list = page.defer("args", "kwargs", "progress", "result").annotate(
            last_error=Subquery(last_error.values("error")[:1])
        )


class _ExactFilter(admin.SimpleListFilter):
    """Jobs whose column, ``parameter_name``, has the chosen value."""

    parameter_name: str

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> QuerySet[Any] | None:
        value = self.value()
        if value is None:
            return None
        return queryset.filter(**{self.parameter_name: value})

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, Any]]:
        # What the address asks for is offered too, so that it shows as chosen.
        chosen = self.value()
        names = {*self.names()} if chosen is None else {*self.names(), chosen}
        return [(name, name) for name in sorted(names)]

    def names(self) -> Iterable[str]:
        return ()


class StatusFilter(_ExactFilter):
    title = _("status")
    parameter_name = "status"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, Any]]:
        return list(Status.choices)

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> QuerySet[Any] | None:
        value = self.value()
        return None if value is None else cast("JobQuerySet", queryset).of_status(value)


class QueueFilter(_ExactFilter):
    """Offers the queues of the tasks, those with a row, and those with READY jobs.

    ``SELECT DISTINCT queue`` would read every job there ever was. A queue that is
    none of these has nothing but history; ``?queue=name`` shows that too.
    """

    title = _("queue")
    parameter_name = "queue"

    def names(self) -> Iterable[str]:
        yield from (task.queue_name for task in registered_tasks())
        yield from Queue.objects.values_list("name", flat=True)
        yield from get_engine().ready_queues()


class TaskFilter(_ExactFilter):
    """Offers the tasks there are, not the tasks there are jobs of: that is in no index."""

    title = _("task")
    parameter_name = "task"

    def names(self) -> Iterable[str]:
        return (task.path for task in registered_tasks())


class ScheduleFilter(_ExactFilter):
    """Offers none: a schedule's page asks for its jobs by ``?schedule=name``."""

    title = _("schedule")
    parameter_name = "schedule"


def search_jobs(jobs: QuerySet[Job], text: str) -> QuerySet[Job]:
    """Jobs with this id, with an id that begins so, or of this task.

    Nothing else is searched: ``LIKE '%...%'`` would read the whole table.
    """
    ids = None if find_task(text) else _ids_beginning(text)
    return jobs.filter(task=text) if ids is None else jobs.filter(pk__range=ids)


def _ids_beginning(text: str) -> tuple[UUID, UUID] | None:
    digits = text.replace("-", "").lower()
    if not digits or len(digits) > 32 or set(digits) - set("0123456789abcdef"):
        return None
    # The bounds are UUIDv7 themselves, for MariaDB sorts other versions by other
    # bytes first.
    first = "00000000000070008000000000000000"
    last = "ffffffffffff7fffbfffffffffffffff"
    return UUID(digits + first[len(digits) :]), UUID(digits + last[len(digits) :])
