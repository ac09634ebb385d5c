"""``path("bgtasks/", include("django_bgtasks.urls"))``."""

from __future__ import annotations

from django.urls import path

from django_bgtasks.views.health import health
from django_bgtasks.views.metrics import metrics
from django_bgtasks.views.status import job_events, job_status

app_name = "django_bgtasks"

urlpatterns = [
    path("health/", health, name="health"),
    path("metrics/", metrics, name="metrics"),
    path("status/<str:ticket>/", job_status, name="job_status"),
    path("events/<str:ticket>/", job_events, name="job_events"),
]
