import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from PIL import Image

from django_bgtasks.models import Job
from pictures import forms, views
from pictures.models import Picture
from pictures.tasks import make_thumbnails

pytestmark = pytest.mark.django_db


def upload(client, file):
    return client.post(reverse("pictures:index"), {"image": file})


def opened(thumbnail):
    with thumbnail.file.open() as file, Image.open(file) as image:
        image.load()
        return image


@pytest.fixture
def picture(picture_file):
    return lambda **options: Picture.objects.create(
        name="picture", original=picture_file(**options)
    )


def test_upload_stores_the_picture_and_enqueues_its_job(client, picture_file):
    response = upload(client, picture_file())

    picture = Picture.objects.get()
    job = Job.objects.get()
    assert response.headers["Location"] == reverse("pictures:detail", args=[picture.pk])
    assert (job.pk, job.args) == (picture.job_id, [picture.pk])
    assert job.status == Job.Status.READY


def test_picture_and_job_appear_together_or_not_at_all(
    client, picture_file, monkeypatch
):
    def fail(picture, task):
        task(picture.pk)
        raise RuntimeError

    monkeypatch.setattr(Picture, "start", fail)
    with pytest.raises(RuntimeError):
        upload(client, picture_file())

    assert not Picture.objects.exists()
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("file", "error"),
    [
        (SimpleUploadedFile("a.jpg", b"<script>"), "not an image"),
        (SimpleUploadedFile("a.jpg", b""), "empty"),
    ],
)
def test_upload_refuses_what_is_no_picture(client, file, error):
    response = upload(client, file)

    assert error in response.content.decode()
    assert not Job.objects.exists()


def test_upload_goes_by_content_not_by_name(client, picture_file):
    file = picture_file(kind="TIFF")
    file.name = "picture.jpg"

    assert b"not a JPEG, PNG, GIF or WebP" in upload(client, file).content


@pytest.mark.parametrize("limit", ["MOST_BYTES", "MOST_PIXELS"])
def test_upload_refuses_what_is_too_large(client, picture_file, monkeypatch, limit):
    monkeypatch.setattr(forms, limit, 100)

    assert b"errorlist" in upload(client, picture_file()).content
    assert not Picture.objects.exists()


def test_the_name_of_an_upload_is_shown_escaped_and_never_used_as_a_path(
    client, picture_file
):
    file = picture_file()
    file.name = "<b>.png"
    upload(client, file)

    picture = Picture.objects.get()
    html = client.get(reverse("pictures:detail", args=[picture.pk])).content.decode()
    assert "&lt;b&gt;.png" in html
    assert "<b>" not in html
    assert "<b>" not in picture.original.name


def test_thumbnails_keep_proportions(picture):
    landscape = picture(size=(2000, 1000))

    assert make_thumbnails.now(landscape.pk) == {"sizes": [160, 480, 1280]}

    sizes = landscape.thumbnails.values_list("width", "height")
    assert list(sizes) == [(160, 80), (480, 240), (1280, 640)]
    assert [opened(each).format for each in landscape.thumbnails.all()] == ["JPEG"] * 3


def test_small_pictures_are_not_blown_up(picture):
    small = picture(size=(100, 50))

    make_thumbnails.now(small.pk)

    assert {each.width for each in small.thumbnails.all()} == {100}


def test_a_second_run_replaces_what_the_first_made(picture):
    twice = picture()

    make_thumbnails.now(twice.pk)
    first = list(twice.thumbnails.values_list("file", flat=True))
    make_thumbnails.now(twice.pk)

    assert list(twice.thumbnails.values_list("file", flat=True)) == first


def test_transparent_parts_become_white(picture):
    clear = picture(mode="RGBA", color=(255, 0, 0, 0))

    make_thumbnails.now(clear.pk)

    assert opened(clear.thumbnails.first()).getpixel((5, 5)) == (255, 255, 255)


def test_pictures_are_turned_as_the_camera_noted(picture):
    exif = Image.Exif()
    exif[0x0112] = 6  # the orientation: a quarter turn
    lying = picture(size=(400, 200), kind="JPEG", exif=exif)

    make_thumbnails.now(lying.pk)

    thumbnail = lying.thumbnails.first()
    assert thumbnail.height > thumbnail.width


def test_from_upload_to_thumbnails_on_the_page(client, picture_file, drain):
    page = upload(client, picture_file()).headers["Location"]
    drain()

    html = client.get(page).content.decode()
    job = Job.objects.get()
    assert job.status == Job.Status.SUCCESSFUL
    assert job.progress == {"done": 3, "total": 3, "message": "1280 pixels"}
    for thumbnail in Picture.objects.get().thumbnails.all():
        assert thumbnail.file.url in html
    assert b"<img" in client.get(reverse("pictures:index")).content


def test_index_shows_a_limited_number_of_pictures(client, picture, monkeypatch):
    monkeypatch.setattr(views, "NEWEST", 2)
    for _ in range(3):
        picture()

    html = client.get(reverse("pictures:index")).content.decode()

    assert html.count("No thumbnail yet") == 2
