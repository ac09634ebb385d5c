"""How many jobs, without counting a big table whole."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet


def count_up_to(limit: int, rows: QuerySet[Any]) -> int:
    """How many ``rows`` there are; ``limit + 1`` if there are more than ``limit``."""
    return rows.order_by().values("pk")[: limit + 1].count()
