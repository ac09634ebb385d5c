from datetime import timedelta
from io import BytesIO
from threading import Event
from time import monotonic

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.utils import timezone
from PIL import Image

from django_bgtasks.models import Job


@pytest.fixture
def picture_file():
    """Makes pictures to upload."""

    def make(size=(600, 300), color="teal", kind="PNG", mode="RGB", exif=None):
        buffer = BytesIO()
        options = {} if exif is None else {"exif": exif}
        Image.new(mode, size, color).save(buffer, kind, **options)
        return SimpleUploadedFile(f"picture.{kind.lower()}", buffer.getvalue())

    return make


@pytest.fixture
def drain(transactional_db):
    """Runs all that is due, in a real worker, threads and all."""
    return lambda: call_command("run_tasks", drain=True, verbosity=0)


@pytest.fixture
def pass_time(transactional_db):
    """Lets back-offs be over."""

    def pass_time():
        past = timezone.now() - timedelta(seconds=1)
        Job.objects.scheduled().update(run_after=past)

    return pass_time


@pytest.fixture
def eventually():
    """Waits until a condition is true, and returns what made it so."""

    def eventually(condition, seconds=30):
        pause, latest = Event(), monotonic() + seconds
        while not (value := condition()):
            assert monotonic() < latest, f"not within {seconds} s: {condition}"
            pause.wait(0.1)
        return value

    return eventually
