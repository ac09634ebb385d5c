"""``migrate`` while workers run."""

import signal

import pytest

from django_bgtasks.models import Job
from tests.end_to_end.test_processes import eventually
from tests.factories import make_jobs
from tests.sample import tasks as sample

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def test_our_migrations_can_be_applied_under_load(start, tmp_path):
    log = tmp_path / "log"
    worker = start("run_tasks", "--processes=2", "--no-reload", "--verbosity=0")
    total = 0
    # What changes the tables of a running system; 0001 only makes them.
    for target in ("0001", "0002", "0001", "0002"):
        make_jobs(
            1500,
            lambda n, first=total: [str(log), str(first + n)],
            task=sample.leave_a_line.path,
        )
        total += 1500
        migrate = start("migrate", "django_bgtasks", target, "--verbosity=0")
        assert migrate.end() == 0, migrate.output
    eventually(lambda: not Job.objects.unfinished().exists())
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    assert sorted(map(int, log.read_text().split())) == list(range(total))
    assert Job.objects.successful().filter(attempt=1).count() == total
