"""Is all well? For load balancers, uptime checks and people who are on call."""

from __future__ import annotations

import logging
from typing import Any

from django.db import Error as DatabaseTrouble
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from django_bgtasks.conf import get_settings
from django_bgtasks.store.health import Thresholds, complaints
from django_bgtasks.store.overview import Overview, overview
from django_bgtasks.timing import as_aware
from django_bgtasks.views.endpoints import endpoint, guarded

logger = logging.getLogger("django_bgtasks.views")


@endpoint
@guarded
def health(request: HttpRequest) -> JsonResponse:
    """200 if all is well, else 503, and what is wrong.

    What is too much, ``BGTASKS["HEALTH"]`` says.
    """
    thresholds = Thresholds(**get_settings().health)
    try:
        seen = overview(limit=thresholds.count_limit)
    except DatabaseTrouble:
        # What it said may name hosts and users; that is for the log.
        logger.warning("The health of jobs is not known.", exc_info=True)
        problems = [_("The database cannot be asked.")]
        return _answer(problems, now=timezone.now().isoformat())
    return _answer(complaints(seen, thresholds), **_figures(seen))


def _answer(problems: list[str], **figures: Any) -> JsonResponse:
    status = "wrong" if problems else "ok"
    return JsonResponse(
        {"status": status, "problems": problems, **figures},
        status=503 if problems else 200,
    )


def _figures(seen: Overview) -> dict[str, Any]:
    live = sum(worker.is_live for worker in seen.workers)
    return {
        "now": as_aware(seen.now).isoformat(),
        "workers": {"live": live, "lost": len(seen.workers) - live},
        "jobs": {
            name: sum(getattr(queue, name) for queue in seen.queues)
            for name in ("waiting", "scheduled", "running")
        },
    }
