import pytest
from django.core import mail
from django.urls import reverse

from django_bgtasks import Cancel
from django_bgtasks.models import Job
from newsletter.models import Delivery, Newsletter, Subscriber
from newsletter.sample import load_subscribers
from newsletter.tasks import deliver, send_newsletter

pytestmark = pytest.mark.django_db

FILE_BACKEND = "django.core.mail.backends.filebased.EmailBackend"


@pytest.fixture
def newsletter():
    return Newsletter.objects.create(subject="Spring", body="It is here.")


@pytest.fixture
def ada():
    return Subscriber.objects.create(name="Ada", email="ada@example.com")


@pytest.fixture
def mail_to_files(settings, tmp_path):
    """The site's own way; under test Django collects messages in memory instead."""
    settings.OUTBOX_DIR = tmp_path
    if hasattr(settings, "MAILERS"):
        settings.MAILERS = {
            "default": {"BACKEND": FILE_BACKEND, "OPTIONS": {"file_path": tmp_path}}
        }
    else:
        settings.EMAIL_BACKEND = FILE_BACKEND
        settings.EMAIL_FILE_PATH = tmp_path


def test_sample_is_loaded_once():
    load_subscribers()
    load_subscribers()

    assert Subscriber.objects.count() == 24


def test_sending_starts_one_job_for_every_active_subscriber(newsletter):
    load_subscribers()
    Subscriber.objects.filter(name="Ada Baker").update(is_active=False)

    assert send_newsletter.now(newsletter.pk) == {"deliveries": 23}

    jobs = Job.objects.for_task(deliver)
    assert jobs.count() == 23
    assert set(newsletter.deliveries.values_list("job_id", flat=True)) == set(
        jobs.values_list("pk", flat=True)
    )


def test_a_second_run_starts_nothing(newsletter, ada):
    send_newsletter.now(newsletter.pk)
    send_newsletter.now(newsletter.pk)

    assert Job.objects.count() == 1


def test_a_message_is_sent_once(newsletter, ada):
    send_newsletter.now(newsletter.pk)

    deliver.now(newsletter.pk, ada.pk)
    deliver.now(newsletter.pk, ada.pk)

    (message,) = mail.outbox
    assert message.to == ["ada@example.com"]
    assert message.subject == "Spring"
    assert message.body == "Hello Ada,\n\nIt is here.\n"


def test_who_unsubscribes_meanwhile_gets_no_message(newsletter, ada):
    send_newsletter.now(newsletter.pk)
    Subscriber.objects.update(is_active=False)

    with pytest.raises(Cancel):
        deliver.now(newsletter.pk, ada.pk)

    assert mail.outbox == []


def test_from_the_form_to_the_outbox(client, drain, mail_to_files):
    load_subscribers()
    page = client.post(
        reverse("newsletter:index"), {"subject": "Été", "body": "Il fait <b>beau</b>."}
    ).headers["Location"]
    drain()

    assert not Delivery.objects.filter(sent_at=None).exists()
    assert not Job.objects.exclude(status=Job.Status.SUCCESSFUL).exists()
    assert b"24 of 24 sent" in client.get(page).content
    outbox = client.get(reverse("newsletter:outbox")).content.decode()
    assert outbox.count("Été") == 24
    assert "Hello Ada Baker" in outbox
    assert "<b>" not in outbox


def test_a_subject_of_two_lines_adds_no_header(client):
    subject = "News\r\nBcc: everyone@example.com"
    client.post(reverse("newsletter:index"), {"subject": subject, "body": "None"})

    assert Newsletter.objects.get().subject == "News Bcc: everyone@example.com"


def test_subscribing_and_unsubscribing(client):
    person = {"name": "Ada", "email": "ada@example.com"}
    client.post(reverse("newsletter:subscribers"), person)
    ada = Subscriber.objects.get()
    assert ada.is_active

    client.post(reverse("newsletter:unsubscribe", args=[ada.pk]))
    ada.refresh_from_db()
    assert not ada.is_active

    again = client.post(reverse("newsletter:subscribers"), person)
    assert b"errorlist" in again.content
