from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser
from django.core.serializers.json import DjangoJSONEncoder

from django_bgtasks.management.migrated import MigratedCommand
from django_bgtasks.management.naming import job_with
from django_bgtasks.management.options import job_id
from django_bgtasks.store.explain import explain


class Command(MigratedCommand):
    help = "Say why a job is not running, or what it is at, or how it ended."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", type=job_id, help="The id of the job.")
        parser.add_argument("--json", action="store_true", help="Print JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        found = explain(job_with(options["id"]))
        if options["json"]:
            text = json.dumps(asdict(found), indent=2, cls=DjangoJSONEncoder)
            self.stdout.write(text)
            return
        for one in (found, *found.also):
            self.stdout.write(one.text)
