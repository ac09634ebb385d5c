"""What the commands that do something to many jobs have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from django.core.management.base import CommandError, CommandParser

from django_bgtasks.management.confirming import add_no_input, confirm
from django_bgtasks.management.filters import add_filters, chosen_jobs
from django_bgtasks.management.migrated import MigratedCommand
from django_bgtasks.management.progress import Progress, interruptible
from django_bgtasks.models import JobQuerySet
from django_bgtasks.store import sweeps
from django_bgtasks.store.overview import COUNT_LIMIT
from django_bgtasks.wording import number_up_to


class SteeringCommand(MigratedCommand):
    """Chooses jobs, asks, and goes through them batch by batch."""

    #: Those that jobs may have to be concerned.
    statuses: ClassVar[Sequence[str]]
    #: Those without ``--status``.
    default_statuses: ClassVar[Sequence[str]]
    #: What the age of a job counts from: a column, and how the help calls it.
    age: ClassVar[tuple[str, str]]
    #: "cancelled", "retried".
    done: ClassVar[str]

    def concerned(self, jobs: JobQuerySet) -> JobQuerySet:
        """Those of ``jobs`` of which ``sweep`` would change something."""
        raise NotImplementedError

    def sweep(
        self, jobs: JobQuerySet, statuses: Sequence[str]
    ) -> Iterator[Counter[str]]:
        """Do it, and say after each batch what was done to how many."""
        raise NotImplementedError

    def report(self, total: Counter[str]) -> str:
        """The same of all batches, as a sentence."""
        raise NotImplementedError

    def add_arguments(self, parser: CommandParser) -> None:
        add_filters(
            parser,
            statuses=self.statuses,
            default=self.default_statuses,
            since=self.age[1],
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Only count the jobs."
        )
        add_no_input(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        jobs = chosen_jobs(options, age_column=self.age[0])
        statuses = options["status"] or self.default_statuses
        if options["dry_run"] or options["interactive"]:
            number = sweeps.count(self.concerned(jobs), statuses, COUNT_LIMIT)
            counted = f"Jobs to be {self.done}: {number_up_to(COUNT_LIMIT, number)}."
            if options["dry_run"] or not number:
                self.stdout.write(counted)
                return
            confirm(counted)
        self._go_through(jobs, statuses, options["verbosity"])

    def _go_through(
        self, jobs: JobQuerySet, statuses: Sequence[str], verbosity: int
    ) -> None:
        total: Counter[str] = Counter()
        with (
            Progress(self.stderr, verbosity) as progress,
            interruptible() as is_interrupted,
        ):
            for counts in self.sweep(jobs, statuses):
                total += counts
                progress.show(self.report(total))
                if is_interrupted():
                    break
        if is_interrupted():
            raise CommandError(
                f"Interrupted. {self.report(total)} The others are as they were.",
                returncode=130,
            )
        self.stdout.write(self.style.SUCCESS(self.report(total)))
