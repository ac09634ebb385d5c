from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from django_bgtasks.management.logging import show_log
from django_bgtasks.management.migrated import MigratedCommand
from django_bgtasks.worker.process import run_scheduler


class Command(MigratedCommand):
    help = (
        "Enqueue periodic jobs when they are due, until stopped by SIGTERM or Ctrl-C. "
        "Workers do the same unless they were started with --no-scheduler."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--once",
            action="store_true",
            help="Enqueue what is due now and end, with exit code 0: for a cron of the "
            "system's, every minute.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        show_log(options["verbosity"])
        run_scheduler(once=options["once"])
