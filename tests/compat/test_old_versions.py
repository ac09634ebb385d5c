"""Tables that are not there, and tables of older versions."""

import pytest
from django.core.management import CommandError, call_command

from django_bgtasks.models import Schedule
from tests.compat import old_tables
from tests.compat.old_tables import Interval, OldPeriodicTask

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("command", "table"),
    [
        ("import_celery_beat", "django_celery_beat_periodictask"),
        ("import_django_q", "django_q_schedule"),
    ],
)
def test_without_tables_it_says_what_to_do(command, table):
    with pytest.raises(CommandError, match=f"no table {table}.* --database"):
        call_command(command)


def test_columns_and_tables_may_be_missing(run):
    with old_tables.existing(Interval, OldPeriodicTask):
        interval = Interval.objects.create(every=1, period="hours")
        OldPeriodicTask.objects.create(
            name="one", task="tests.sample.tasks.named", interval_id=interval.pk
        )
        # Its name here is another one.
        report = run(
            "import_celery_beat", "--task=tests.sample.tasks.named=shop.renamed"
        )
    assert report.startswith("imported: one\n")
    assert Schedule.objects.get().task == "shop.renamed"
