from django.db import transaction
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from pictures.forms import PictureForm
from pictures.models import Picture
from pictures.tasks import make_thumbnails

NEWEST = 12


@require_http_methods(["GET", "HEAD", "POST"])
def index(request):
    form = PictureForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        return redirect("pictures:detail", add_picture(form.cleaned_data["image"]).pk)
    pictures = Picture.objects.prefetch_related("thumbnails")[:NEWEST]
    return render(request, "pictures/index.html", {"form": form, "pictures": pictures})


def add_picture(upload):
    # The picture and its job appear together or not at all.
    with transaction.atomic():
        picture = Picture.objects.create(name=upload.name[:100], original=upload)
        picture.start(make_thumbnails)
    return picture


@require_GET
def detail(request, picture_id):
    picture = get_object_or_404(Picture, pk=picture_id)
    return render(request, "pictures/detail.html", {"picture": picture})
