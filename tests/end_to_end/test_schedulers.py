"""Periodic jobs as users run them: ``run_tasks``, ``run_scheduler`` and signals."""

import signal
from collections import Counter
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection

from django_bgtasks.models import Job, Schedule
from django_bgtasks.store.engines import get_engine
from tests.end_to_end.test_processes import eventually
from tests.sample import tasks as sample

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

SECOND = timedelta(seconds=1)


def periodic(log, **options):
    each = {"task": sample.leave_its_tick.path, "every": 1, "args": [str(log)]}
    ours = settings.BGTASKS["PERIODIC"]
    return {"PERIODIC": {**ours, "each": {**each, **options}}}


def test_run_tasks_is_a_scheduler(start, tmp_path):
    worker = start("run_tasks", "--no-reload", settings=periodic(tmp_path / "log"))
    eventually(lambda: Job.objects.successful().count() >= 3)
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    ticks = sorted(Job.objects.values_list("scheduled_for", flat=True))
    assert set(Counter(ticks).values()) == {1}
    assert ticks[2] - ticks[0] == 2 * SECOND
    lines = (tmp_path / "log").read_text().split("\n")
    assert lines[:3] == [str(tick) for tick in ticks[:3]]


def test_unless_it_is_told_not_to_be(start, tmp_path):
    arguments = ("run_tasks", "--no-reload", "--no-scheduler")
    worker = start(*arguments, settings=periodic(tmp_path / "log"))
    Schedule.objects.create(name="a", task=sample.add.path, args=[1], every=SECOND)
    result = sample.add(1)
    eventually(Job.objects.successful().exists)
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    assert str(Job.objects.get().pk) == result.id
    assert Schedule.objects.get().planned_by == ""


def test_edits_are_taken_up_by_those_that_run(start):
    start("run_scheduler").wait_for("has started")
    schedule = Schedule.objects.create(
        name="a", task=sample.add.path, args=[1], every=timedelta(days=1)
    )
    created_at = get_engine().now()
    eventually(lambda: Schedule.objects.get().planned_by != "")
    assert get_engine().now() - created_at < 2 * SECOND, "within one, on a busy machine"
    schedule.every = SECOND
    schedule.next_due = get_engine().now()
    schedule.save(update_fields=["every", "next_due"])
    eventually(lambda: Job.objects.of_schedule("a").count() >= 2)
    Schedule.objects.all().delete()
    count = Job.objects.count()
    other = Schedule.objects.create(
        name="b", task=sample.add.path, args=[1], every=SECOND
    )
    eventually(Job.objects.of_schedule(other.pk).exists)
    assert Job.objects.of_schedule("a").count() <= count + 1


def test_run_scheduler_runs_no_jobs_and_stops(start, tmp_path):
    scheduler = start("run_scheduler", settings=periodic(tmp_path / "log"))
    eventually(lambda: Job.objects.ready().count() >= 2)
    scheduler.signal(signal.SIGTERM)
    assert scheduler.end() == 0
    scheduler.wait_for("The scheduler has stopped")
    assert not (tmp_path / "log").exists()


def test_once_is_for_a_cron_of_the_systems(start, tmp_path):
    given = periodic(tmp_path / "log", every=3600)
    assert start("run_scheduler", "--once", settings=given).end() == 0
    assert not Job.objects.exists()
    Schedule.objects.update(next_due=get_engine().now())
    assert start("run_scheduler", "--once", settings=given).end() == 0
    assert Job.objects.count() == 1


@pytest.mark.parametrize("command", ["run_scheduler", "run_tasks"])
def test_a_wrong_setting_is_told_before_anything_is_run(start, tmp_path, command):
    given = periodic(tmp_path / "log", cron="0 3 * *", every=None)
    process = start(command, settings=given)
    assert process.end() == 1
    assert "BGTASKS['PERIODIC']['each']: cron is '0 3 * *'" in process.output


def test_with_several_of_both_each_tick_has_one_job(start, tmp_path):
    given = periodic(tmp_path / "log", missed="all")
    processes = [
        start("run_scheduler", settings=given),
        start("run_scheduler", settings=given),
        start("run_tasks", "--no-reload", "--processes=2", settings=given),
    ]
    eventually(lambda: Job.objects.successful().count() >= 6)
    for process in processes:
        process.signal(signal.SIGTERM)
        assert process.end() == 0
    ticks = sorted(Job.objects.values_list("scheduled_for", flat=True))
    assert ticks == [ticks[0] + n * SECOND for n in range(len(ticks))]


def test_a_lost_connection_is_survived(start, tmp_path, only):
    only("postgresql")
    scheduler = start("run_scheduler", settings=periodic(tmp_path / "log"))
    eventually(Job.objects.exists)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    scheduler.wait_for("The database is in trouble")
    scheduler.wait_for("The database answers again")
    count = Job.objects.count()
    eventually(lambda: Job.objects.count() > count)
