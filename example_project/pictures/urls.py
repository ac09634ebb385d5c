from django.urls import path

from pictures import views

app_name = "pictures"

urlpatterns = [
    path("", views.index, name="index"),
    path("<int:picture_id>/", views.detail, name="detail"),
]
