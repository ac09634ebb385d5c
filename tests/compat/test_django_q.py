from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings
from django.test import override_settings

from django_bgtasks.models import Schedule
from django_bgtasks.timing import as_aware, as_stored
from tests.compat import old_tables
from tests.compat.conftest import NOW
from tests.compat.old_tables import QSchedule

COMMAND = "import_django_q"
#: A Monday; TIME_ZONE is Europe/Berlin.
NEXT_RUN = datetime(2026, 11, 30, 8, 20, 33, tzinfo=ZoneInfo("Europe/Berlin"))


@pytest.fixture(scope="module", autouse=True)
def _tables(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock(), old_tables.existing(*old_tables.DJANGO_Q):
        yield


pytestmark = pytest.mark.django_db


def make(kind="D", next_run=NEXT_RUN, **columns):
    columns = {"name": "one", **columns}
    return QSchedule.objects.create(
        schedule_type=kind, next_run=next_run and as_stored(next_run), **columns
    )


@pytest.mark.parametrize(
    ("kind", "cron"),
    [
        ("H", "20 * * * *"),
        ("D", "20 8 * * *"),
        ("W", "20 8 * * 1"),
        ("M", "20 8 L * *"),
        ("BM", "20 8 30 1,3,5,7,9,11 *"),
        ("Q", "20 8 L 2,5,8,11 *"),
        ("Y", "20 8 30 11 *"),
    ],
)
def test_kinds_that_become_cron_expressions(run, row, due, kind, cron):
    make(kind)
    assert run(COMMAND).startswith("imported: one\n")
    assert row().cron == cron
    assert due(row()) == datetime(2026, 11, 30, 7, 20)


def test_a_day_that_each_month_has_is_kept(run, row):
    make("M", NEXT_RUN.replace(day=28))
    report = run(COMMAND)
    assert row().cron == "20 8 28 * *"
    assert "last day" not in report


def test_a_day_that_some_month_lacks_becomes_the_last_one(run):
    make("M")
    assert "runs on the last day of the month, where it was day 30" in run(COMMAND)


def test_a_leap_day_becomes_the_last_day_of_february(run, row):
    make("Y", datetime(2028, 2, 29, 12, tzinfo=UTC))
    run(COMMAND)
    assert row().cron == "0 13 L 2 *"


@pytest.mark.parametrize(
    ("kind", "columns", "every"),
    [
        ("I", {"minutes": 7}, timedelta(minutes=7)),
        ("I", {"minutes": None}, timedelta(minutes=1)),
        ("BW", {}, timedelta(days=14)),
    ],
)
def test_kinds_that_become_intervals(run, row, due, kind, columns, every):
    make(kind, **columns)
    run(COMMAND)
    assert row().every == every
    assert due(row()) == datetime(2026, 11, 30, 7, 20, 33)


def test_an_interval_goes_on_and_replays_nothing(run, row, due):
    make("I", NOW - timedelta(minutes=100), minutes=30)
    run(COMMAND)
    assert due(row()) == datetime(2026, 11, 21, 9, 20)


def test_two_weeks_do_not_heed_clocks_and_say_so(run):
    make("BW")
    assert "its local time moves when clocks change" in run(COMMAND)


def test_a_cron_expression(run, row, due):
    make("C", NOW, cron="*/5 8 * * mon")
    run(COMMAND)
    assert row().cron == "*/5 8 * * mon"
    assert due(row()) == datetime(2026, 11, 23, 7, 0)


def test_a_cron_expression_that_is_none_is_left_out(run):
    make("C", NOW, cron="99 * * * *")
    assert "cron is '99 * * * *', which is no cron expression" in run(COMMAND)


@pytest.mark.skipif(not settings.USE_TZ, reason="django-q2 does not look at it then")
@override_settings(Q_CLUSTER={"time_zone": "Asia/Tokyo"})
def test_the_cluster_may_have_a_time_zone(run, row, due):
    make()
    run(COMMAND)
    assert (row().cron, row().timezone) == ("20 16 * * *", "Asia/Tokyo")
    assert due(row()) == datetime(2026, 11, 30, 7, 20)


def test_once(run, row):
    make("O")
    run(COMMAND)
    assert as_aware(row().at) == NEXT_RUN


@pytest.mark.parametrize(
    ("columns", "note"),
    [
        ({"kind": "O", "next_run": NOW}, "was to run once, at 2026-11-21"),
        ({"repeats": 0}, "is done"),
        ({"next_run": None}, "has no next run"),
        ({"kind": "XX"}, "has a schedule_type 'XX' that nobody knows"),
        ({"func": "shop.gone"}, "--task shop.gone=new.path"),
        ({"args": "1, 2, 3"}, "cannot be called so"),
        ({"args": "1 +"}, "args cannot be read: invalid syntax"),
        ({"args": "__import__('os').getpid()"}, "args cannot be read: malformed"),
        ({"args": "{1, 2}"}, "args[0] is a set"),
        ({"args": "(" * 10_000}, "args cannot be read"),
        ({"kwargs": "b=c"}, "kwargs cannot be read: malformed"),
        ({"kwargs": "**{'b': 1}"}, "it unpacks something"),
        ({"kwargs": "1"}, "it is no list of name=value"),
        ({"kwargs": "b=1) or f("}, "it is no list of name=value"),
        ({"kwargs": "{1: 2}"}, "it is no dict of arguments by their names"),
    ],
)
def test_a_bad_row_does_not_stop_the_others(run, columns, note):
    make(**{"name": "bad", **columns})
    make(name="good")
    report = run(COMMAND)
    assert report.startswith("left out: bad\n    ")
    assert note in report
    assert report.endswith("imported: good\n1 imported, 0 paused, 1 left out.\n")


@pytest.mark.parametrize(
    ("columns", "args", "kwargs"),
    [
        ({"args": None}, [], {"a": 1}),
        ({"args": "'two'"}, ["two"], {}),
        ({"args": "1, (2, None)"}, [1, [2, None]], {}),
        ({"kwargs": "b=[2]"}, [1], {"b": [2]}),
        ({"kwargs": "{'b': True}"}, [1], {"b": True}),
    ],
)
def test_the_call(run, row, columns, args, kwargs):
    if not args:
        columns = {**columns, "kwargs": "a=1"}
    make(**columns)
    run(COMMAND)
    assert (row().args, row().kwargs) == (args, kwargs)


@override_settings(Q_CLUSTER={"name": "main"})
@pytest.mark.parametrize(
    ("cluster", "queue"), [(None, ""), ("main", ""), ("long", "long")]
)
def test_a_cluster_becomes_a_queue(run, row, cluster, queue):
    make(cluster=cluster)
    run(COMMAND)
    assert row().queue_name == queue


def test_names_are_made_where_they_are_missing_or_repeated(run):
    rows = [make(name=name) for name in (None, "", "Same", "same", "own")]
    run(COMMAND)
    task = "tests.sample.tasks.add"
    assert set(Schedule.objects.values_list("pk", flat=True)) == {
        f"{task} #{rows[0].pk}",
        f"{task} #{rows[1].pk}",
        f"Same #{rows[2].pk}",
        f"same #{rows[3].pk}",
        "own",
    }


def test_runs_that_are_left_become_an_end(run, row):
    make(repeats=3)
    assert "has 3 runs left: ends at 2026-12-02" in run(COMMAND)
    assert as_aware(row().end) == datetime(2026, 12, 2, 7, 20, tzinfo=UTC)


def test_of_too_many_runs_the_end_is_not_looked_for(run, row):
    make(repeats=5000)
    assert "repeats 5000 does not carry over" in run(COMMAND)
    assert row().end is None


def test_what_does_not_carry_over_is_named(run, row):
    make(
        hook="shop.done",
        intended_date_kwarg="when",
        kwargs="{'q_options': {'timeout': 5}}",
    )
    report = run(COMMAND)
    assert "    hook shop.done does not carry over: " in report
    assert "    intended_date_kwarg when does not carry over: " in report
    assert "    q_options {'timeout': 5} do not carry over: " in report
    assert row().kwargs == {}
