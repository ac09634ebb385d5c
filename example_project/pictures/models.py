from pathlib import PurePosixPath
from uuid import uuid4

from django.db import models

from jobs.models import WithJob
from site_config.storage import private_storage


def upload_path(picture, client_name):
    """A name of our own: the client's may hold anything."""
    return f"pictures/{uuid4()}"


class Picture(WithJob):
    name = models.CharField(max_length=100)
    original = models.FileField(upload_to=upload_path, storage=private_storage)

    class Meta:
        ordering = ["-pk"]

    def __str__(self):
        return self.name

    @property
    def key(self):
        """The unguessable part of the stored name."""
        return PurePosixPath(self.original.name).name


class Thumbnail(models.Model):
    picture = models.ForeignKey(
        Picture, on_delete=models.CASCADE, related_name="thumbnails"
    )
    longest_side = models.PositiveSmallIntegerField()
    width = models.PositiveSmallIntegerField()
    height = models.PositiveSmallIntegerField()
    file = models.FileField()

    class Meta:
        ordering = ["longest_side"]
        constraints = [
            models.UniqueConstraint(
                fields=["picture", "longest_side"], name="one_thumbnail_per_size"
            ),
        ]

    def __str__(self):
        return f"{self.picture} ({self.width} x {self.height})"
