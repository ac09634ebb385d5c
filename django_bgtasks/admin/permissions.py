"""What a user of the admin may do, beyond Django's view, add, change and delete."""

from __future__ import annotations

from django.db.models import Model
from django.http import HttpRequest

from django_bgtasks.models import Job

#: Of jobs: their arguments, results and metadata.
VIEW_ARGUMENTS = "view_job_arguments"
RETRY = "retry_job"
CANCEL = "cancel_job"
#: Of queues, and of workers.
PAUSE = "pause_queue"
STEER = "steer_worker"


def may(request: HttpRequest, codename: str) -> bool:
    """Whether who asks has a permission of this app."""
    return request.user.has_perm(f"{Job._meta.app_label}.{codename}")


def may_view(request: HttpRequest, model: type[Model]) -> bool:
    """Whether who asks may see pages about rows of ``model``: else no link leads there."""
    name = model._meta.model_name
    return may(request, f"view_{name}") or may(request, f"change_{name}")
