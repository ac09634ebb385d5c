"""What all of our endpoints have in common."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import connections
from django.db.transaction import non_atomic_requests
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotFound,
    JsonResponse,
)
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from django_bgtasks.conf import get_settings

View = TypeVar("View", bound=Callable[..., Any])

_HOW_TO = (
    "Health and metrics are for those who have a token: set BGTASKS['TOKEN'] to a text "
    "of at least 20 characters, and send it as 'Authorization: Bearer ...'.\n"
    "This text is shown because DEBUG is on.\n"
)


def endpoint(view: View) -> View:
    """Make ``view`` one that only reads, is never cached, and asks for no log-in.

    It opens no transaction: it has to answer when the database does not, and an async
    one cannot have any.
    """
    view = login_not_required(never_cache(require_safe(view)))
    for alias in connections:
        view = non_atomic_requests(using=alias)(view)
    return view


def guarded(
    view: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Let only those see ``view`` who send one of ``BGTASKS["TOKEN"]``.

    Without that setting there is no such page.
    """

    @wraps(view)
    def wrapper(request: HttpRequest) -> HttpResponse:
        tokens = get_settings().token
        if tokens:
            return view(request) if _has_one(request, tokens) else _unauthorized()
        if settings.DEBUG:
            return HttpResponseNotFound(_HOW_TO, content_type="text/plain")
        raise Http404

    return wrapper


def _has_one(request: HttpRequest, tokens: tuple[str, ...]) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    # All of them, so that the time it takes does not tell which one is close.
    matches = [constant_time_compare(given.strip(), token) for token in tokens]
    return scheme.lower() == "bearer" and any(matches)


def _unauthorized() -> HttpResponse:
    response = JsonResponse({"error": "Send Authorization: Bearer ..."}, status=401)
    response["WWW-Authenticate"] = 'Bearer realm="django-bgtasks"'
    return response
