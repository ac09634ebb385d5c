from __future__ import annotations

import json
import pdb
import sys
from typing import Any, NoReturn

from django.core.management.base import CommandError, CommandParser

from django_bgtasks.exceptions import Cancel, Snooze
from django_bgtasks.management.confirming import add_no_input, confirm
from django_bgtasks.management.migrated import MigratedCommand
from django_bgtasks.management.naming import job_with, task_named
from django_bgtasks.management.options import job_id
from django_bgtasks.models.job import Status
from django_bgtasks.outcomes import Error
from django_bgtasks.redaction import Secrets
from django_bgtasks.tasks import secrets_of
from django_bgtasks.worker.replay import replay

#: Why a job of this status should not be run without a thought.
_TWICE = {
    Status.SCHEDULED: "A worker is going to run this job as well, for it is SCHEDULED.",
    Status.READY: "A worker is going to run this job as well, for it is READY.",
    Status.RUNNING: "A worker is running this job already.",
    Status.SUCCESSFUL: "This job has done its work already.",
}


class Command(MigratedCommand):
    help = (
        "Run the function of a job in this process, with the arguments of the job, and "
        "print the result or the traceback. What the function does is done; the job's "
        "row stays as it is."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", type=job_id, help="The id of the job.")
        parser.add_argument(
            "--inline",
            action="store_true",
            help="Run it here. There is no other way yet.",
        )
        parser.add_argument(
            "--pdb",
            action="store_true",
            help="After an exception, look around in the debugger.",
        )
        add_no_input(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["inline"]:
            raise CommandError(
                "A single job can only be run in this process, without its row being "
                "changed: use --inline. Workers run jobs for good: retry_tasks --id "
                "makes a job that failed ready for them."
            )
        if options["pdb"] and not sys.stdin.isatty():
            raise CommandError("--pdb needs a terminal, and there is none.")
        job = job_with(options["id"])
        task = task_named(job.task)
        if options["interactive"] and job.status in _TWICE:
            confirm(_TWICE[Status(job.status)])
        secrets = secrets_of(job)
        try:
            shown = json.dumps(replay(job, task), indent=2, ensure_ascii=False)
        except (Snooze, Cancel) as wish:
            shown = f"{type(wish).__name__}: {wish}"
        except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever the task raises is what one wants to see)
            self._show(error, secrets, debug=options["pdb"])
        self.stdout.write(shown if secrets is None else secrets.mask(shown))

    def _show(
        self, error: BaseException, secrets: Secrets | None, *, debug: bool
    ) -> NoReturn:
        text = Error.from_exception(error, secrets)
        self.stderr.write(text.traceback, style_func=str)
        if debug:
            pdb.post_mortem(error.__traceback__)
        raise CommandError(text.summary) from None
