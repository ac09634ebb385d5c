"""How long the server takes for each page of the admin: prints milliseconds as JSON.

A process of its own, with settings of its own; run by ``BGTasks.page_times``.
"""

from __future__ import annotations

import json
import statistics
import time

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402 (wants Django set up)
from django.core.management import call_command  # noqa: E402 (as above)
from django.test import Client  # noqa: E402 (as above)
from django.urls import reverse  # noqa: E402 (as above)
from django.utils.http import urlencode  # noqa: E402 (as above)

from benchmarks.systems.bgtasks.week import ERRORS  # noqa: E402 (as above)
from django_bgtasks.models import Job, Schedule  # noqa: E402 (as above)

#: How often each page is asked for, after the first time.
TIMES = 7


def main() -> None:
    call_command("migrate", verbosity=0)
    boss, _ = User.objects.get_or_create(
        username="boss", is_staff=True, is_superuser=True
    )
    client = Client()
    client.force_login(boss)
    print(json.dumps({name: _time(client, url) for name, url in _pages().items()}))


def _pages() -> dict[str, str]:
    """What somebody looks at, and the worst that can be asked of it."""
    newest = Job.objects.order_by("-pk")[0]
    failed = Job.objects.failed().order_by("finished_at")[0]
    schedule = Schedule.objects.order_by("pk")[0]
    return {
        "dashboard": _list("dashboard"),
        "dashboard_week": _list("dashboard", window="7d"),
        "jobs": _list("job"),
        "jobs_failed": _list("job", status="FAILED"),
        "jobs_successful": _list("job", status="SUCCESSFUL"),
        "jobs_of_task": _list("job", task=newest.task),
        "jobs_of_none": _list("job", task="there.is.none"),
        "jobs_of_exception": _list("job", status="FAILED", exception=ERRORS[0]),
        "jobs_by_argument": _list("job", q="number=-1"),
        "jobs_by_error": _list("job", q="no such words"),
        "job": _page(newest),
        "job_failed": _page(failed),
        "queues": _list("queue"),
        "workers": _list("worker"),
        "schedules": _list("schedule"),
        "schedule": _page(schedule),
    }


def _list(model: str, **query: str) -> str:
    url = reverse(f"admin:django_bgtasks_{model}_changelist")
    return f"{url}?{urlencode(query)}"


def _page(row: Job | Schedule) -> str:
    name = f"admin:django_bgtasks_{row._meta.model_name}_change"
    return reverse(name, args=[row.pk])


def _time(client: Client, url: str) -> float:
    """The median of several times, in milliseconds, without the first."""
    client.get(url)
    times = []
    for _ in range(TIMES):
        began = time.perf_counter()
        response = client.get(url)
        times.append(1000 * (time.perf_counter() - began))
        if response.status_code != 200:
            raise AssertionError(f"{url} answers {response.status_code}")
    return statistics.median(times)


if __name__ == "__main__":
    main()
