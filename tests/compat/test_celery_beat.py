from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import override_settings

from django_bgtasks.models import Schedule
from django_bgtasks.store import schedules
from django_bgtasks.timing import as_aware, as_stored
from tests.compat import old_tables
from tests.compat.conftest import NOW
from tests.compat.old_tables import Clocked, Crontab, Interval, PeriodicTask, Solar

COMMAND = "import_celery_beat"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(scope="module", autouse=True)
def _tables(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock(), old_tables.existing(*old_tables.CELERY_BEAT):
        yield


pytestmark = pytest.mark.django_db


def stored(moment):
    return as_stored(moment)


def make(**columns):
    columns = {"name": "one", "date_changed": stored(NOW - DAY), **columns}
    return PeriodicTask.objects.create(**columns)


def hourly(**columns):
    interval = Interval.objects.create(every=1, period="hours")
    return make(interval_id=interval.pk, **columns)


def by_crontab(crontab, **columns):
    return make(crontab_id=Crontab.objects.create(**crontab).pk, **columns)


def at(moment, **columns):
    clocked = Clocked.objects.create(clocked_time=stored(moment))
    return make(clocked_id=clocked.pk, **{"one_off": True, **columns})


def test_a_crontab_keeps_its_time_zone(run, row, due):
    by_crontab({"minute": "30", "hour": "4", "timezone": "Asia/Tokyo"})
    assert run(COMMAND) == "imported: one\n1 imported, 0 paused, 0 left out.\n"
    assert (row().cron, row().timezone) == ("30 4 * * *", "Asia/Tokyo")
    assert due(row()) == datetime(2026, 11, 21, 19, 30)
    assert row().source == Schedule.Source.ADMIN


@override_settings(DJANGO_CELERY_BEAT_TZ_AWARE=False, CELERY_TIMEZONE="Asia/Seoul")
def test_celery_may_not_mind_the_time_zone_of_a_crontab(run, row):
    by_crontab({"hour": "4", "timezone": "Asia/Tokyo"})
    run(COMMAND)
    assert row().timezone == "Asia/Seoul"


@pytest.mark.skipif(settings.USE_TZ, reason="there, the database knows")
@override_settings(DJANGO_CELERY_BEAT_TZ_AWARE=False)
def test_celery_may_have_written_naive_moments_in_utc(run, row, due):
    clocked = Clocked.objects.create(clocked_time=datetime(2026, 11, 25, 12))
    make(clocked_id=clocked.pk, one_off=True)
    run(COMMAND)
    assert due(row()) == datetime(2026, 11, 25, 12)


@pytest.mark.parametrize(
    ("every", "period", "expected"),
    [
        (3, "days", timedelta(days=3)),
        (2, "hours", timedelta(hours=2)),
        (90, "minutes", timedelta(minutes=90)),
        (10, "seconds", timedelta(seconds=10)),
        (2_000_000, "microseconds", timedelta(seconds=2)),
    ],
)
def test_an_interval(run, row, every, period, expected):
    make(interval_id=Interval.objects.create(every=every, period=period).pk)
    run(COMMAND)
    assert row().every == expected


def test_an_interval_goes_on_from_the_last_run_and_replays_nothing(run, row, due):
    hourly(last_run_at=stored(NOW - 5 * HOUR - timedelta(minutes=20)))
    run(COMMAND)
    assert due(row()) == datetime(2026, 11, 21, 9, 40)
    assert as_aware(row().last_due) == NOW - 5 * HOUR - timedelta(minutes=20)


def test_an_interval_that_never_ran_goes_on_from_the_last_change(run, row, due):
    hourly(date_changed=stored(NOW - DAY + timedelta(minutes=5)))
    run(COMMAND)
    assert due(row()) == datetime(2026, 11, 21, 9, 5)


def test_a_last_run_that_is_still_to_come_holds_nothing_back(run, row, due):
    hourly(last_run_at=stored(NOW + 5 * HOUR))
    run(COMMAND)
    assert due(row()) == datetime(2026, 11, 21, 10, 0)


def test_less_than_a_second_is_left_out(run):
    make(interval_id=Interval.objects.create(every=5, period="microseconds").pk)
    assert "the shortest interval is 1 s" in run(COMMAND)


def test_start_and_end(run, row, due):
    hourly(start_time=stored(NOW + DAY), expires=stored(NOW + 2 * DAY))
    run(COMMAND)
    assert as_aware(row().start) == NOW + DAY
    assert as_aware(row().end) == NOW + 2 * DAY
    assert due(row()) == datetime(2026, 11, 22, 9, 0)


def test_what_has_expired_is_left_out(run):
    hourly(expires=stored(NOW - DAY))
    assert "is over since 2026-11-20" in run(COMMAND)


def test_a_single_moment(run, row, due):
    at(NOW + DAY)
    run(COMMAND)
    assert as_aware(row().at) == NOW + DAY
    assert due(row()) == datetime(2026, 11, 22, 9, 0)


def test_a_single_moment_that_has_passed_is_left_out(run):
    at(NOW - DAY)
    assert "left out: one\n    is over since 2026-11-20" in run(COMMAND)


def test_of_a_one_off_the_next_run_is_imported(run, row):
    by_crontab({"minute": "5", "hour": "5"}, one_off=True)
    assert "    runs once, at 2026-11-22 05:05:00 UTC\n" in run(COMMAND)
    assert as_aware(row().at) == datetime(2026, 11, 22, 5, 5, tzinfo=UTC)


@pytest.mark.parametrize("columns", [{"total_run_count": 1}, {"enabled": False}])
def test_a_one_off_that_may_have_run_is_left_out(run, columns):
    hourly(one_off=True, **columns)
    assert "was to run once, and has, or is disabled" in run(COMMAND)


def test_the_sun_is_left_out(run):
    solar = Solar.objects.create(event="sunset", latitude=1, longitude=2)
    make(solar_id=solar.pk)
    assert "runs by the sun (sunset)" in run(COMMAND)


def test_what_is_disabled_is_paused(run, row):
    hourly(enabled=False)
    assert run(COMMAND) == "paused: one\n0 imported, 1 paused, 0 left out.\n"
    assert row().next_due is None
    assert as_aware(row().paused_at) == NOW


def test_the_call(run, row):
    hourly(args='[1, {"a": null}]', kwargs="", queue="long")
    run(COMMAND)
    assert (row().args, row().kwargs) == ([1, {"a": None}], {})
    assert row().queue_name == "long"


@pytest.mark.parametrize(
    ("columns", "note"),
    [
        ({"args": "[1"}, "args cannot be read"),
        ({"args": "{}"}, "args is {}; it must be a list"),
        ({"kwargs": "[]"}, "kwargs is []; it must be a dict"),
        ({"args": "[1, 2, 3]"}, "cannot be called so"),
        (
            {"args": '[{"__type__": "datetime", "__value__": "2026"}]'},
            "it holds a datetime, which is not JSON",
        ),
        ({"task": "celery.backend_cleanup"}, "prune old jobs by themselves"),
        ({"task": "shop.gone"}, '@background(name="shop.gone")'),
        ({"interval_id": None}, "has nothing to say when it runs"),
        ({"crontab_id": 1}, "has crontab and interval to say when it runs"),
        ({"interval_id": 10**6}, "its interval does not exist any more"),
    ],
)
def test_a_bad_row_does_not_stop_the_others(run, columns, note):
    interval = Interval.objects.create(every=1, period="hours").pk
    make(name="bad", **{"interval_id": interval, **columns})
    make(name="good", interval_id=interval)
    report = run(COMMAND)
    assert report.startswith("left out: bad\n    ")
    assert note in report
    assert report.endswith("imported: good\n1 imported, 0 paused, 1 left out.\n")


def test_what_a_row_holds_that_nobody_expects_does_not_stop_the_others(run):
    make(interval_id=Interval.objects.create(every=1, period="moons").pk)
    assert "cannot be read: TypeError" in run(COMMAND)


def test_what_the_database_does_not_take_does_not_stop_the_others(run, monkeypatch):
    def save(schedule, now):
        # Twice what must be unique: an error of the database's own.
        original(schedule, now)
        if schedule.pk == "bad":
            Schedule.objects.bulk_create([schedule])

    original = schedules.save
    monkeypatch.setattr(schedules, "save", save)
    hourly(name="bad")
    hourly(name="good")
    report = run(COMMAND)
    assert report.startswith("left out: bad\n    The database does not take it: ")
    assert report.endswith("imported: good\n1 imported, 0 paused, 1 left out.\n")
    assert [row.pk for row in Schedule.objects.all()] == ["good"]


def test_what_a_driver_does_not_take_does_not_stop_the_others(run, only):
    only("sqlite", "mysql")  # their tables may hold NUL
    hourly(name="bad", queue="a\x00b")
    hourly(name="good")
    assert "imported: good\n" in run(COMMAND)


def test_what_does_not_carry_over_is_named(run):
    hourly(
        priority=0,
        exchange="ex",
        routing_key="key",
        headers='{"a": 1}',
        expire_seconds=60,
        description="for people",
    )
    report = run(COMMAND)
    for column in ("priority 0", "exchange ex", "routing_key key", "expire_seconds 60"):
        assert f"    {column} does not carry over: " in report
    assert '    headers {"a": 1} does not carry over' in report
    assert "people" not in report


def test_a_task_may_have_another_name_here(run, row):
    hourly(task="shop.tasks.old")
    run(COMMAND, "--task=shop.tasks.old=tests.sample.tasks.add")
    assert row().task == "tests.sample.tasks.add"


def test_another_name_must_exist(run):
    hourly(task="shop.old")
    report = run(COMMAND, "--task", "shop.old=shop.new")
    assert "task 'shop.new', given by --task for 'shop.old', is not" in report


def test_the_second_time_all_is_there(run, row):
    hourly()
    run(COMMAND)
    Schedule.objects.update(queue_name="mine")
    assert "is there already; --update would replace it" in run(COMMAND)
    assert row().queue_name == "mine"


def test_what_is_there_may_be_replaced(run, row, due):
    old = hourly()
    run(COMMAND)
    Schedule.objects.update(queue_name="mine", problem="some", last_job=None)
    PeriodicTask.objects.filter(pk=old.pk).update(enabled=False)
    assert run(COMMAND, "--update").startswith("paused: one")
    assert Schedule.objects.get().paused_at is not None
    assert (row().queue_name, row().problem) == ("", "")
    PeriodicTask.objects.filter(pk=old.pk).update(enabled=True)
    assert run(COMMAND, "--update").startswith("imported: one")
    assert Schedule.objects.get().paused_at is None
    assert row().paused_at is None
    assert due(row()) is not None


def test_what_settings_own_is_never_replaced(run, row):
    hourly()
    run(COMMAND)
    Schedule.objects.update(source=Schedule.Source.SETTINGS)
    assert "belongs to settings" in run(COMMAND, "--update")


def test_a_dry_run_reports_the_same_and_writes_nothing(run):
    hourly(priority=3)
    dry = run(COMMAND, "--dry-run")
    assert not Schedule.objects.exists()
    assert dry == run(COMMAND) + "Nothing was written: it was a dry run.\n"


@pytest.mark.parametrize("value", ["a", "a=", "=b"])
def test_nonsense_is_refused(value):
    with pytest.raises(CommandError, match="is not like old.path=new.path"):
        call_command(COMMAND, f"--task={value}")


def test_an_unknown_database_is_refused():
    with pytest.raises(CommandError, match="no database 'other' in DATABASES"):
        call_command(COMMAND, "--database=other")
