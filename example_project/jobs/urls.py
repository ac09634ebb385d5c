from django.urls import path

from jobs import views

urlpatterns = [
    path("", views.home, name="home"),
    path("jobs/status/", views.job_status, name="job_status"),
    path("jobs/<uuid:job_id>/", views.job_detail, name="job"),
]
