"""Tallies, as workers write them."""

from __future__ import annotations

from collections.abc import Sequence

from django_bgtasks.models import Tally
from django_bgtasks.store.engines import get_engine

#: Rows that one transaction writes.
BATCH = 500


def write(tallies: Sequence[Tally]) -> None:
    """Add rows. Those that are there already, as after a lost answer, are left alone."""
    rows = Tally.objects.using(get_engine().alias)
    rows.bulk_create(tallies, batch_size=BATCH, ignore_conflicts=True)
