from django.urls import path

from newsletter import views

app_name = "newsletter"

urlpatterns = [
    path("", views.index, name="index"),
    path("<int:newsletter_id>/", views.detail, name="detail"),
    path("subscribers/", views.subscribers, name="subscribers"),
    path(
        "subscribers/<int:subscriber_id>/unsubscribe/",
        views.unsubscribe,
        name="unsubscribe",
    ),
    path("outbox/", views.outbox, name="outbox"),
]
