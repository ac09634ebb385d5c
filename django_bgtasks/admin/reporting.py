"""What an action leaves behind: a message to its user, and a log entry for each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.http import HttpRequest


def tell(
    request: HttpRequest, sentence: Any, count: int, level: int = messages.SUCCESS
) -> None:
    """Say ``sentence``, an ``ngettext_lazy(..., "count")``, about so many rows, if any."""
    if count:
        messages.add_message(request, level, sentence % {"count": count})


def log(request: HttpRequest, rows: Sequence[Any], message: str) -> None:
    """Write down who did this to each of ``rows``, for the history on its page."""
    user: Any = request.user  # never anonymous: the admin's views ask for a login
    LogEntry.objects.log_actions(
        user_id=user.pk,
        queryset=rows,
        action_flag=CHANGE,
        change_message=message,
    )
