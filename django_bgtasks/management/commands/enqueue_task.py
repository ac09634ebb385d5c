from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from django_bgtasks import timing
from django_bgtasks._framework import InvalidTask
from django_bgtasks.management import json_text
from django_bgtasks.management.migrated import MigratedCommand
from django_bgtasks.management.naming import task_named
from django_bgtasks.management.options import seconds


class Command(MigratedCommand):
    help = "Enqueue a job of a task, and print its id."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "task", help="The task, by its path: shop.tasks.send_receipt."
        )
        parser.add_argument(
            # Not "args", of which Django makes something else.
            "arguments",
            nargs="?",
            default="[]",
            metavar="ARGS",
            help="Its arguments, a list in JSON: '[42, \"en\"]'.",
        )
        parser.add_argument(
            "--kwargs",
            default="{}",
            help="Its keyword arguments, an object in JSON: '{\"copy\": true}'.",
        )
        parser.add_argument("--queue", metavar="NAME", help="On this queue.")
        parser.add_argument(
            "--priority", type=int, help="From -100 to 100; higher runs first."
        )
        due = parser.add_mutually_exclusive_group()
        due.add_argument(
            "--delay",
            type=seconds,
            metavar="SECONDS",
            help="Not before so many seconds from now.",
        )
        due.add_argument(
            "--run-after",
            type=_moment,
            metavar="TIME",
            help="Not before this time, such as 2026-03-01T09:30 in the site's time "
            "zone, or 2026-03-01T09:30Z.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        task = task_named(options["task"])
        is_secret = task.redaction is not None
        positional = json_text.parse(
            options["arguments"],
            list,
            name="ARGS",
            example="[1, 2]",
            is_secret=is_secret,
        )
        keywords = json_text.parse(
            options["kwargs"],
            dict,
            name="--kwargs",
            example='{"key": 1}',
            is_secret=is_secret,
        )
        run_after = options["run_after"]
        if options["delay"] is not None:
            run_after = timing.now() + options["delay"]
        try:
            result = task.using(
                queue_name=options["queue"],
                priority=options["priority"],
                run_after=run_after,
            ).enqueue(*positional, **keywords)
        except (TypeError, InvalidTask) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(str(result.id))


def _moment(value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{value!r} is no time such as 2026-03-01T09:30"
        ) from None
    return timing.as_stored(timing.as_aware(moment))
