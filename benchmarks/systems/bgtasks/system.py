"""django-bgtasks as it comes, on whichever database ``BENCH_DATABASE`` says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

import django
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from benchmarks.django_system import DjangoSystem, on_server
from benchmarks.system import Load

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.systems.bgtasks.settings"
django.setup()

from benchmarks.systems.bgtasks import week  # noqa: E402 (wants Django set up)
from benchmarks.systems.bgtasks.tasks import tasks  # noqa: E402 (wants Django set up)
from django_bgtasks import enqueue_many  # noqa: E402 (as above)
from django_bgtasks.models import Job, Queue, Schedule  # noqa: E402 (as above)
from django_bgtasks.models.job import Status, new_id  # noqa: E402 (as above)
from django_bgtasks.store import schedules  # noqa: E402 (as above)

#: A queue that no worker works on.
OTHER_QUEUE = "other"


class BGTasks(DjangoSystem):
    """What is the same on every database.

    Args:
        processes: how many of them drain fastest on two cores.
        nth_id: SQL for an id that begins with the parameter, a text, and ends in the
            number ``n``.
    """

    def __init__(self, *, processes: int, nth_id: str) -> None:
        self._processes = processes
        self._nth_id = nth_id
        #: The last job of the scheduler that was asked for.
        self._last_seen = UUID(int=0)

    def enqueue_one(self, body: str, *args: int) -> Any:
        return tasks[body](*args)

    def enqueue_many(self, body: str, count: int) -> None:
        enqueue_many((tasks[body].s() for _ in range(count)), results=False)

    def wait_for(self, handle: Any) -> object:
        return handle.get()

    def unsettled(self) -> int:
        ready = Job.objects.ready().on_queue("default").count()
        # Not by status: this is what the index of running jobs is made for.
        return ready + Job.objects.filter(worker__isnull=False).count()

    def worker_command(self, load: Load) -> list[str]:
        manage = [sys.executable, "-m", "django"]
        if load.body == "schedules":
            return [*manage, "run_scheduler"]
        processes = load.processes or (1 if load.concurrency else self._processes)
        command = [*manage, "run_tasks"]
        if load.concurrency:
            command += ["--threads", str(max(1, load.concurrency // processes))]
        if processes > 1:
            command += ["--processes", str(processes)]
        return command

    def add_history(self, count: int) -> None:
        now = timezone.now()
        self._add_copies(
            count,
            status=Status.SUCCESSFUL,
            started_at=now,
            finished_at=now,
            attempt=1,
            run_token=1,
            last_worker=new_id(),
        )

    def add_future(self, count: int) -> None:
        due = timezone.now() + timedelta(days=365)
        self._add_copies(count, status=Status.SCHEDULED, run_after=due)

    def add_backlog(self, count: int) -> None:
        Queue.objects.create(name=OTHER_QUEUE, paused_at=timezone.now())
        self._add_copies(count, status=Status.READY, queue=OTHER_QUEUE)

    def add_schedules(self, count: int) -> None:
        interval = timedelta(seconds=100)
        self._add_schedules(
            Schedule(every=interval, phase=timedelta(seconds=n % 100), name=f"{n}")
            for n in range(count)
        )

    def add_sleeping_schedules(self, count: int) -> None:
        due = timezone.now() + timedelta(days=365)
        self._add_schedules(Schedule(at=due, name=f"{n}") for n in range(count))

    def _add_schedules(self, made: Iterable[Schedule]) -> None:
        now = timezone.now()
        rows = list(made)
        for row in rows:
            row.task = tasks["noop"].path
            schedules.plan(row, now)
        Schedule.objects.bulk_create(rows, batch_size=500)

    def schedules_behind(self) -> float:
        due = schedules.next_due()
        return 0 if due is None else (timezone.now() - due).total_seconds()

    def new_ticks(self) -> list[float]:
        rows = Job.objects.filter(pk__gt=self._last_seen).order_by("pk")
        seen = list(rows.values_list("pk", "scheduled_for"))
        if seen:
            self._last_seen = seen[-1][0]
        return [tick.timestamp() for _, tick in seen]

    def add_week(self, count: int) -> None:
        week.fill(self._add_copies, count, timezone.now())

    def page_times(self) -> dict[str, float]:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.systems.bgtasks.pages"],
            env={**os.environ, "DJANGO_SETTINGS_MODULE": f"{__package__}.site"},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            # It has said why.
            sys.exit(done.returncode)
        times: dict[str, float] = json.loads(done.stdout)
        return times

    def _add_copies(
        self, count: int, first_digits: str | None = None, **columns: Any
    ) -> None:
        """Add jobs made in the same moment, all as if they were one.

        Args:
            first_digits: the first 20 of their ids.
        """
        pattern = Job.objects.get(pk=tasks["noop"]().id)
        Job.objects.filter(pk=pattern.pk).update(**columns)
        names = [field.column for field in Job._meta.concrete_fields]
        values = [self._nth_id if name == "id" else name for name in names]
        with connection.cursor() as cursor:
            cursor.execute(
                f"""
                INSERT INTO {Job._meta.db_table} ({", ".join(names)})
                WITH RECURSIVE numbers(n) AS (
                    SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %s)
                SELECT {", ".join(values)} FROM {Job._meta.db_table}, numbers
                WHERE id = %s
                """,
                [
                    count,
                    first_digits or new_id().hex[:20],
                    Job._meta.pk.get_db_prep_value(pattern.pk, connection),
                ],
            )
        pattern.delete()


class OnServer(BGTasks):
    """With a database of its own on a server."""

    def reset(self) -> None:
        self._make_database()
        super().reset()
        call_command("flush", interactive=False, verbosity=0)

    def remove(self) -> None:
        on_server("DROP DATABASE IF EXISTS {name}")

    def _make_database(self) -> None:
        raise NotImplementedError
