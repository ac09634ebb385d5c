import os
from datetime import timedelta

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.urls import reverse
from django.utils import timezone

from django_bgtasks.models import Job, Schedule
from newsletter.tasks import clear_outbox
from pictures.models import Picture
from pictures.tasks import make_thumbnails, remove_stray_thumbnails
from sales.models import Import, Report
from sales.tasks import report_on_new_imports
from webhooks.models import Webhook
from webhooks.tasks import announce_order

pytestmark = pytest.mark.django_db(transaction=True)


def test_its_own_are_in_the_admin(admin_client):
    call_command("run_scheduler", "--once", verbosity=0)

    page = admin_client.get(reverse("admin:django_bgtasks_schedule_changelist"))

    for name in (
        "report-on-new-imports",
        "announce-an-order",
        "clear-outbox",
        "pictures.tasks.remove_stray_thumbnails",
    ):
        assert name in page.text
        schedule = Schedule.objects.get(pk=name)
        assert schedule.next_due > timezone.now()
        assert schedule.problem == ""


def test_each_import_gets_a_report_once(drain):
    done = Import.objects.create(name="done", accepted=0, rejected=0)
    Import.objects.create(name="under way")

    assert report_on_new_imports.now() == {"reports": 1}
    assert report_on_new_imports.now() == {"reports": 0}

    report = Report.objects.get()
    assert report.source == done
    assert report.job_id == Job.objects.get().pk


def test_old_messages_are_deleted(settings, tmp_path):
    settings.OUTBOX_DIR = tmp_path
    for name, days in {"old.log": 8, "new.log": 6}.items():
        sent = (timezone.now() - timedelta(days=days)).timestamp()
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (sent, sent))

    assert clear_outbox.now(days=7) == {"deleted": 1}

    assert [file.name for file in tmp_path.iterdir()] == ["new.log"]


def let_pass(time, *names):
    moment = (timezone.now() - time).timestamp()
    for name in names:
        os.utime(default_storage.path(name), (moment, moment))


def test_only_thumbnails_without_a_picture_are_removed(picture_file):
    picture = Picture.objects.create(name="picture", original=picture_file())
    make_thumbnails.now(picture.pk)
    stray, fresh = (
        default_storage.save(f"thumbnails/{name}.jpg", ContentFile(b""))
        for name in ("stray", "fresh")
    )
    let_pass(
        timedelta(hours=2), stray, *(t.file.name for t in picture.thumbnails.all())
    )

    assert remove_stray_thumbnails.now() == {"removed": 1}
    assert remove_stray_thumbnails.now() == {"removed": 0}

    assert not default_storage.exists(stray)
    assert default_storage.exists(fresh)
    assert all(default_storage.exists(t.file.name) for t in picture.thumbnails.all())


def test_an_order_is_announced_by_a_job_of_its_own():
    announce_order.now()

    webhook = Webhook.objects.get()
    assert webhook.order_number.startswith("B")
    assert webhook.job.task == "webhooks.tasks.deliver_webhook"
