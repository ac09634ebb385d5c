"""The end of jobs that nobody has begun in time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import F

from django_bgtasks.models import JobQuerySet
from django_bgtasks.models.job import Status

#: What is written of one: cancelled by its own expiry.
EXPIRED: dict[str, Any] = {
    "status": Status.CANCELLED,
    "cancel_requested_at": F("expires_at"),
    "unique_key": None,
}


def expired_by(rows: JobQuerySet, now: datetime) -> JobQuerySet:
    """Those of ``rows`` that still wait and may not begin any more."""
    # Also "not finished": that is what their index holds.
    return rows.waiting().filter(finished_at=None, expires_at__lte=now)


def cancel_expired(rows: JobQuerySet, now: datetime) -> int:
    """Cancel those of ``rows`` that have expired and still wait."""
    return expired_by(rows, now).update(finished_at=now, **EXPIRED)
