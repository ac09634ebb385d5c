from django import forms
from django.core.exceptions import ValidationError

from sales.rows import COLUMNS

MOST_BYTES = 10 * 1024 * 1024


class ImportForm(forms.Form):
    file = forms.FileField(
        label="CSV file",
        help_text=f"UTF-8, up to 10 MB, with the columns {', '.join(COLUMNS)}.",
        widget=forms.FileInput(attrs={"accept": ".csv,text/csv"}),
    )

    def clean_file(self):
        upload = self.cleaned_data["file"]
        if upload.size > MOST_BYTES:
            raise ValidationError("The file is larger than 10 MB.")
        text = decode(upload)
        header = text.partition("\n")[0].strip().split(",")
        if header != COLUMNS:
            raise ValidationError(f"The first line is not {','.join(COLUMNS)}.")
        return upload


def decode(upload):
    content = upload.read()
    upload.seek(0)
    # NUL is valid UTF-8, but no text file has it and PostgreSQL does not store it.
    if b"\0" in content:
        raise ValidationError("The file is not a text file.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValidationError("The file is not UTF-8 text.") from None
