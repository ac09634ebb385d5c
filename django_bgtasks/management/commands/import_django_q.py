from __future__ import annotations

from collections.abc import Iterable

from django.db.backends.base.base import BaseDatabaseWrapper

from django_bgtasks.compat import django_q
from django_bgtasks.compat.importing import OldSchedule
from django_bgtasks.management.importing import ImportCommand


class Command(ImportCommand):
    help = (
        "Make schedules of those that django-q2 has in the database, and report "
        "what does not carry over. Its tables stay as they are."
    )

    def schedules(self, connection: BaseDatabaseWrapper) -> Iterable[OldSchedule]:
        return django_q.schedules(connection)
