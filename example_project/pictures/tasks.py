from datetime import timedelta
from io import BytesIO

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone
from PIL import Image, ImageOps

from django_bgtasks import background
from pictures.formats import FORMATS
from pictures.models import Picture, Thumbnail

SIZES = (160, 480, 1280)


@background(takes_context=True)
def make_thumbnails(context, picture_id):
    """Make a thumbnail of every size. A second run replaces what the first made."""
    picture = Picture.objects.get(pk=picture_id)
    image = read_upright(picture)
    for number, longest_side in enumerate(SIZES, start=1):
        make_thumbnail(picture, image, longest_side)
        context.progress(number, len(SIZES), f"{longest_side} pixels")
    return {"sizes": list(SIZES)}


@background(cron="15 4 * * *")
def remove_stray_thumbnails():
    """Delete the files of thumbnails whose pictures were deleted.

    Every night. Where it stands in code, settings can still change the time.
    """
    known = set(Thumbnail.objects.values_list("file", flat=True))
    names = [f"thumbnails/{name}" for name in stored_thumbnails()]
    strays = [name for name in names if name not in known and is_old(name)]
    for name in strays:
        default_storage.delete(name)
    return {"removed": len(strays)}


def stored_thumbnails():
    if not default_storage.exists("thumbnails"):
        return []
    return default_storage.listdir("thumbnails")[1]


def is_old(name):
    """Not one that is being made just now, whose row is not there yet."""
    return timezone.now() - default_storage.get_modified_time(name) > timedelta(hours=1)


def read_upright(picture):
    with (
        picture.original.open() as file,
        Image.open(file, formats=FORMATS) as image,
    ):
        # Cameras store the picture as the sensor lay, and note how to turn it.
        return on_white(ImageOps.exif_transpose(image))


def on_white(image):
    """JPEG knows no transparency; without this it comes out black."""
    image = image.convert("RGBA")
    canvas = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(canvas, image).convert("RGB")


def make_thumbnail(picture, image, longest_side):
    small = image.copy()
    small.thumbnail((longest_side, longest_side))
    picture.thumbnails.update_or_create(
        longest_side=longest_side,
        defaults={
            "width": small.width,
            "height": small.height,
            "file": store(f"thumbnails/{picture.key}-{longest_side}.jpg", small),
        },
    )


def store(name, image):
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=85)
    # Django never overwrites a file, it would choose another name.
    default_storage.delete(name)
    return default_storage.save(name, ContentFile(buffer.getvalue()))
