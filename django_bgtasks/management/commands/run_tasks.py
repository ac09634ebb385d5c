from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from django_bgtasks.conf import get_settings
from django_bgtasks.management.logging import show_log
from django_bgtasks.management.migrated import MigratedCommand
from django_bgtasks.management.options import at_least_one, whole_number
from django_bgtasks.worker import memory
from django_bgtasks.worker.options import WorkerOptions
from django_bgtasks.worker.process import run_workers


class Command(MigratedCommand):
    help = "Run background jobs until stopped by SIGTERM or Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--queues",
            type=_names,
            help="Comma-separated names of the queues to work on. Default: all.",
        )
        parser.add_argument(
            "--threads",
            type=at_least_one,
            default=None,
            help="Jobs that a process runs at the same time. Default: "
            "BGTASKS['THREADS'], or 4.",
        )
        parser.add_argument(
            "--processes",
            type=whole_number,
            default=None,
            help="Processes to run them in, watched over by this one; 0: this one "
            "itself, with nobody to watch over it. Default: BGTASKS['PROCESSES'], or "
            "1; 0 with --reload and from call_command().",
        )
        parser.add_argument(
            "--drain",
            action="store_true",
            help="Work until nothing is due, then end with exit code 0.",
        )
        parser.add_argument(
            "--max-jobs",
            type=at_least_one,
            default=None,
            help="Replace a worker process after this many jobs; without a supervisor, "
            "end.",
        )
        parser.add_argument(
            "--max-memory",
            type=at_least_one,
            default=None,
            metavar="MB",
            help="Replace a worker process that takes more memory than this, as soon "
            "as its jobs have ended; without a supervisor, end.",
        )
        parser.add_argument(
            "--no-scheduler",
            action="store_true",
            help="Enqueue no periodic jobs here: run_scheduler does it elsewhere. Not "
            "done with --drain either.",
        )
        parser.add_argument(
            "--reload",
            action=argparse.BooleanOptionalAction,
            default=None,
            help="Start anew when code changes. Default: with DEBUG, unless the "
            "worker ends by itself.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        show_log(options["verbosity"])
        worker_options = WorkerOptions(
            queues=_names(options["queues"]) if options["queues"] else (),
            threads=options["threads"] or get_settings().threads,
            drain=options["drain"],
            max_jobs=options["max_jobs"],
            max_memory=_bytes(options["max_memory"]),
            schedules=not (options["no_scheduler"] or options["drain"]),
        )
        reload = options["reload"]
        if reload is None:
            ends = options["drain"] or options["max_jobs"] or options["max_memory"]
            reload = settings.DEBUG and not ends
        processes = options["processes"]
        if processes is None:
            processes = self._default_processes(reload=reload)
        run_workers(worker_options, processes=processes, reload=reload)

    def _default_processes(self, *, reload: bool) -> int:
        # Developers want their debugger to work, and who calls this from Python,
        # as tests do, wants the jobs to be run here.
        processes = get_settings().processes
        alone = processes == 1 and reload
        from_python = not self._called_from_command_line  # type: ignore[attr-defined]  # the stubs lack it
        return 0 if alone or from_python else processes


def _names(value: str | Iterable[str]) -> tuple[str, ...]:
    # call_command() hands on what it was given: a text, or names already.
    parts = value.split(",") if isinstance(value, str) else value
    names = tuple(name.strip() for name in parts if name.strip())
    if not names:
        raise argparse.ArgumentTypeError("give at least one queue name")
    return names


def _bytes(megabytes: int | None) -> int | None:
    if megabytes is None:
        return None
    if not memory.can_tell():
        raise CommandError("--max-memory does not work on Windows.")
    return megabytes << 20
