from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", include("jobs.urls")),
    path("pictures/", include("pictures.urls")),
    path("newsletter/", include("newsletter.urls")),
    path("sales/", include("sales.urls")),
    path("webhooks/", include("webhooks.urls")),
    path("bgtasks/", include("django_bgtasks.urls")),
    path("admin/", admin.site.urls),
    # Browsers ask for it on pages that name no icon, such as the admin's.
    path("favicon.ico", RedirectView.as_view(url=f"{settings.STATIC_URL}icon.svg")),
    # In development only: static() returns no patterns without DEBUG.
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),
]
