from django import forms
from django.core.exceptions import ValidationError

from pictures.formats import FORMATS

MOST_BYTES = 10 * 1024 * 1024
MOST_PIXELS = 50_000_000


class PictureForm(forms.Form):
    image = forms.ImageField(
        label="Picture",
        help_text="JPEG, PNG, GIF or WebP, up to 10 MB.",
    )

    def clean_image(self):
        upload = self.cleaned_data["image"]
        if upload.size > MOST_BYTES:
            raise ValidationError("The picture is larger than 10 MB.")
        # By content, not by name: a file called .jpg may be anything Pillow can read.
        if upload.image.format not in FORMATS:
            raise ValidationError("The picture is not a JPEG, PNG, GIF or WebP file.")
        # A small file can unfold to gigabytes of pixels. The header tells in time.
        width, height = upload.image.size
        if width * height > MOST_PIXELS:
            raise ValidationError("The picture has more than 50 million pixels.")
        return upload
