"""Figures for Prometheus, if its library is there."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.db import Error as DatabaseTrouble
from django.http import HttpRequest, HttpResponse

from django_bgtasks.views.endpoints import endpoint, guarded

exposed: Callable[[str], tuple[bytes, str]] | None
try:
    from django_bgtasks.views import exposition
except ModuleNotFoundError as error:
    if error.name != "prometheus_client":
        raise
    # An extra that is not installed.
    exposed = None
else:
    exposed = exposition.exposed

logger = logging.getLogger("django_bgtasks.views")


@endpoint
@guarded
def metrics(request: HttpRequest) -> HttpResponse:
    """Queues, workers, schedules and what has ended, as text for Prometheus."""
    if exposed is None:
        text = 'Metrics need a library: pip install "django-bgtasks[metrics]"\n'
        return HttpResponse(text, status=501, content_type="text/plain")
    try:
        content, content_type = exposed(request.headers.get("Accept", ""))
    except DatabaseTrouble:
        logger.warning("The figures of jobs are not known.", exc_info=True)
        text = "The database cannot be asked.\n"
        return HttpResponse(text, status=503, content_type="text/plain")
    return HttpResponse(content, content_type=content_type)
