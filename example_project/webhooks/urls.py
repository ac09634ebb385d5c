from django.urls import path

from webhooks import views
from webhooks.receiver import receive

app_name = "webhooks"

urlpatterns = [
    path("", views.index, name="index"),
    path("<int:webhook_id>/", views.detail, name="detail"),
    path("receive/", receive, name="receive"),
]
