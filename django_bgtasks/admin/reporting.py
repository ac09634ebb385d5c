"""What an action leaves behind: a message to its user, a log entry for each row, a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.utils import quote
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse


def tell(
    request: HttpRequest, sentence: Any, count: int, level: int = messages.SUCCESS
) -> None:
    """Say ``sentence``, an ``ngettext_lazy(..., "count")``, about so many rows, if any."""
    if count:
        messages.add_message(request, level, sentence % {"count": count})


def log(
    request: HttpRequest, rows: Sequence[Any], message: str, flag: int = CHANGE
) -> None:
    """Write down who did this to each of ``rows``, for the history on its page."""
    user: Any = request.user  # never anonymous: the admin's views ask for a login
    LogEntry.objects.log_actions(
        user_id=user.pk,
        queryset=rows,
        action_flag=flag,
        change_message=message,
    )


def log_at_large(request: HttpRequest, model: type[Model], message: str) -> None:
    """Write down who did this, to rows that are too many to name, or none."""
    user: Any = request.user
    LogEntry.objects.create(
        user_id=user.pk,
        content_type=ContentType.objects.get_for_model(model),
        object_repr=str(model._meta.verbose_name_plural),
        action_flag=CHANGE,
        change_message=message,
    )


def back_to_page(
    model_admin: admin.ModelAdmin[Any], request: HttpRequest, pk: str | UUID
) -> HttpResponse:
    """Show the page of the row again that a button was on."""
    opts = model_admin.opts
    url = reverse(
        f"admin:{opts.app_label}_{opts.model_name}_change",
        args=[quote(pk)],
        current_app=model_admin.admin_site.name,
    )
    # With the list's filters, for the way back to it.
    filters = model_admin.get_preserved_filters(request)
    return HttpResponseRedirect(
        add_preserved_filters({"preserved_filters": filters, "opts": opts}, url)
    )
