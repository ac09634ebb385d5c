"""The status of one job for its owner: asked again and again, or as events.

Both know the job and its owner by a ticket, which ``{% job_status %}`` has put into the
page.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    JsonResponse,
    StreamingHttpResponse,
)
from django.utils import translation

from django_bgtasks.status import find_job, result_of, status_of
from django_bgtasks.store.engines import get_engine
from django_bgtasks.tickets import Ticket
from django_bgtasks.views.endpoints import endpoint

#: Seconds between two looks at a job.
PAUSE = 1.0
#: Seconds of silence after which a proxy might think that nobody is there.
HEARTBEAT = 15.0
#: Seconds after which the page has to ask again: it may be somebody else's by then.
LONGEST = 300.0
#: Milliseconds after which the browser asks again.
RETRY = 1_000
#: The same where each event is a request.
RETRY_WITHOUT_STREAM = 2_000


@endpoint
def job_status(request: HttpRequest, ticket: str) -> JsonResponse:
    """How the job is doing, as JSON."""
    checked = _checked(ticket, getattr(request, "user", None))
    if isinstance(checked, JsonResponse):
        return checked
    status = _look(checked)
    return _gone() if status is None else JsonResponse(status)


@endpoint
async def job_events(request: HttpRequest, ticket: str) -> HttpResponseBase:
    """The same as server-sent events, one for each change.

    Under WSGI, an open stream would keep a thread of the server: there the answer is one
    event, and the browser asks again.
    """
    user = await request.auser() if hasattr(request, "auser") else None
    checked = _checked(ticket, user)
    if isinstance(checked, JsonResponse):
        return checked
    status = await _alook(checked)
    if status is None:
        return _gone()
    if not isinstance(request, ASGIRequest):
        text = _retry(RETRY_WITHOUT_STREAM) + _event(status)
        return _as_events(HttpResponse(text, content_type="text/event-stream"))
    stream = _events(checked, status, translation.get_language())
    return _as_events(StreamingHttpResponse(stream, content_type="text/event-stream"))


def _checked(text: str, user: Any) -> Ticket | JsonResponse:
    ticket = Ticket.read(text)
    if ticket is None:
        return JsonResponse({"error": "This is no ticket of this site."}, status=403)
    if not ticket.admits(user):
        return JsonResponse({"error": "The job is somebody else's."}, status=403)
    return ticket


def _gone() -> JsonResponse:
    return JsonResponse({"error": "The job is no more."}, status=404)


def _look(ticket: Ticket) -> dict[str, Any] | None:
    """The job as it is now; None if it is no more."""
    row = find_job(ticket.job)
    if row is None:
        return None
    status = status_of(row)
    return {**status, "result": result_of(row)} if ticket.shows_result else status


# -- events


async def _events(
    ticket: Ticket, status: dict[str, Any] | None, language: str | None
) -> AsyncIterator[str]:
    """What the page is told, until there is nothing more to tell.

    Args:
        status: the job as it was just now.
        language: of whoever looks, for the request is over when this runs.
    """
    yield _retry(RETRY)
    began = told = time.monotonic()
    shown = None
    while status is not None:
        now = time.monotonic()
        if _essence(status) != shown:
            shown, told = _essence(status), now
            yield _event(status)
        elif now - told >= HEARTBEAT:
            told = now
            yield ": still here\n\n"
        if status["finished"] or now - began >= LONGEST:
            return
        await asyncio.sleep(PAUSE)
        status = await _alook(ticket, language)
    yield "event: gone\ndata: {}\n\n"


async def _alook(ticket: Ticket, language: str | None = None) -> dict[str, Any] | None:
    return await sync_to_async(_look_and_let_go)(ticket, language)


def _look_and_let_go(ticket: Ticket, language: str | None) -> dict[str, Any] | None:
    """Keep no connection while nothing is asked: there may be many who watch."""
    with translation.override(language or translation.get_language()):
        try:
            return _look(ticket)
        finally:
            connection = get_engine().connection
            if not connection.in_atomic_block:
                connection.close()


def _essence(status: dict[str, Any]) -> dict[str, Any]:
    """All but the seconds, which are others each time; ``time_left`` says it roughly."""
    return {key: value for key, value in status.items() if key != "seconds_left"}


def _event(status: dict[str, Any]) -> str:
    return f"data: {json.dumps(status)}\n\n"


def _retry(milliseconds: int) -> str:
    return f"retry: {milliseconds}\n\n"


def _as_events(response: HttpResponseBase) -> HttpResponseBase:
    # nginx would wait for more before it passes anything on.
    response["X-Accel-Buffering"] = "no"
    return response
