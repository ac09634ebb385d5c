from __future__ import annotations

import getpass
from collections import Counter
from collections.abc import Iterator, Sequence

from django_bgtasks.management.steering import SteeringCommand
from django_bgtasks.models import JobQuerySet
from django_bgtasks.store import sweeps


class Command(SteeringCommand):
    help = (
        "Cancel jobs that are not finished, in short transactions. Running ones are "
        "asked to stop. Jobs that are enqueued meanwhile and fit are cancelled, too."
    )
    statuses = default_statuses = sweeps.CANCELLABLE
    age = ("enqueued_at", "were enqueued")
    done = "cancelled"

    def concerned(self, jobs: JobQuerySet) -> JobQuerySet:
        return sweeps.to_cancel(jobs)

    def sweep(
        self, jobs: JobQuerySet, statuses: Sequence[str]
    ) -> Iterator[Counter[str]]:
        for counts in sweeps.cancel(jobs, statuses, by=_who()):
            yield Counter(counts._asdict())

    def report(self, total: Counter[str]) -> str:
        return (
            f"Jobs cancelled: {total['cancelled']}. Running ones that were asked to "
            f"stop: {total['asked']}."
        )


def _who() -> str:
    try:
        return f"{getpass.getuser()} (manage.py cancel_tasks)"
    except (OSError, KeyError):
        # In a container, there may be no user of this number.
        return "manage.py cancel_tasks"
