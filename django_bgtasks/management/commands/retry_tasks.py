from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from django_bgtasks.management.steering import SteeringCommand
from django_bgtasks.models import JobQuerySet
from django_bgtasks.models.job import Status
from django_bgtasks.store import sweeps
from django_bgtasks.store.engines import get_engine


class Command(SteeringCommand):
    help = (
        "Make jobs that failed ready for one more attempt, in short transactions. "
        "Cancelled ones only if they are asked for: --status CANCELLED."
    )
    statuses = sweeps.RETRYABLE
    default_statuses = (Status.FAILED,)
    age = ("finished_at", "finished")
    done = "retried"

    def concerned(self, jobs: JobQuerySet) -> JobQuerySet:
        return sweeps.to_retry(jobs, get_engine().now())

    def sweep(
        self, jobs: JobQuerySet, statuses: Sequence[str]
    ) -> Iterator[Counter[str]]:
        for retried in sweeps.retry(jobs, statuses):
            yield Counter(retried=retried)

    def report(self, total: Counter[str]) -> str:
        return f"Jobs retried: {total['retried']}."
