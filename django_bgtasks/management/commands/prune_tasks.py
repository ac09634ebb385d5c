from __future__ import annotations

import argparse
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser

from django_bgtasks.conf import LONGEST_AGE, get_settings
from django_bgtasks.management.migrated import MigratedCommand
from django_bgtasks.management.progress import Progress, interruptible
from django_bgtasks.store import maintenance
from django_bgtasks.store.engines import get_engine


class Command(MigratedCommand):
    help = (
        "Delete old finished jobs. The ages come from BGTASKS['RETENTION'] unless "
        "given here. Workers do the same by themselves."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        for status in get_settings().retention:
            parser.add_argument(
                f"--{status.lower()}-days",
                dest=status,
                type=_days,
                metavar="DAYS",
                help=f"Delete {status} jobs that finished so many days ago.",
            )
        parser.add_argument(
            "--dry-run", action="store_true", help="Only count what would be deleted."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        retention = {
            status: age if options[status] is None else options[status]
            for status, age in get_settings().retention.items()
        }
        now = get_engine().now()
        if options["dry_run"]:
            total = maintenance.count_prunable(now, retention)
            self.stdout.write(f"{total} jobs would be deleted.")
            return
        total = 0
        with (
            Progress(self.stderr, options["verbosity"]) as progress,
            interruptible() as is_interrupted,
        ):
            while not is_interrupted() and (
                pruned := maintenance.prune(now, retention)
            ):
                total += pruned
                progress.show(f"{total} jobs deleted so far.")
        if is_interrupted():
            raise CommandError(f"Interrupted. {total} jobs deleted.", returncode=130)
        self.stdout.write(self.style.SUCCESS(f"{total} jobs deleted."))


def _days(value: str) -> timedelta:
    try:
        age = timedelta(days=float(value))
    except (ValueError, OverflowError):
        age = timedelta(-1)
    if not timedelta(0) <= age <= LONGEST_AGE:
        raise argparse.ArgumentTypeError(f"{value!r} is no number of days from 0 on")
    return age
