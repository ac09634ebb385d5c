"""One job for each tick: whoever looks, however late, whatever else is in the table."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.db import OperationalError, connection, connections
from django.db.models import QuerySet

from django_bgtasks.exceptions import InvalidSchedule
from django_bgtasks.models import Job, Schedule
from django_bgtasks.periodic import Declared
from django_bgtasks.store import lifecycle, schedules
from django_bgtasks.store.engines import get_engine
from django_bgtasks.timing import as_aware, as_stored
from tests.factories import held
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db(transaction=True)

PATH = sample.add.path
SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=n) for n in (1, 60, 3600, 86400))


def at(text):
    """A time of this year in the zone of the tests, Europe/Berlin, as rows hold it."""
    return as_stored(as_aware(datetime.fromisoformat(f"2026-{text}")))


NOON = at("06-01 12:00")


@pytest.fixture
def make():
    """Makes a schedule, which is planned at noon."""

    def make(name="poll", now=NOON, **columns):
        columns = {"task": PATH, "args": [1], **columns}
        if not columns.keys() & {"every", "at"}:
            columns.setdefault("cron", "*/10 * * * *")
        schedule = Schedule(name=name, **columns)
        schedules.save(schedule, now)
        return schedule

    return make


def ticks(name="poll"):
    rows = Job.objects.of_schedule(name).order_by("scheduled_for")
    return list(rows.values_list("scheduled_for", flat=True))


def minutes(name="poll"):
    return [(tick - NOON) / MINUTE for tick in ticks(name)]


def test_each_tick_gets_one_job(make):
    make(queue_name="io", priority=4, kwargs={"b": 2})
    for minute in range(35):
        schedules.enqueue_due(NOON + minute * MINUTE)
        schedules.enqueue_due(NOON + minute * MINUTE)
    assert minutes() == [10, 20, 30]
    job = Job.objects.of_schedule("poll").first()
    assert (job.task, job.args, job.kwargs) == (PATH, [1], {"b": 2})
    assert (job.queue, job.priority, job.status) == ("io", 4, "READY")
    schedule = Schedule.objects.get()
    assert schedule.last_due == NOON + 30 * MINUTE
    assert schedule.next_due == NOON + 40 * MINUTE
    assert schedule.last_job == Job.objects.latest("scheduled_for").pk


def test_also_when_its_jobs_were_pruned(make):
    make()
    schedules.enqueue_due(NOON + 10 * MINUTE)
    Job.objects.all().delete()
    assert schedules.enqueue_due(NOON + 10 * MINUTE).jobs == []
    assert schedules.enqueue_due(NOON + 11 * MINUTE).jobs == []


def test_a_row_that_somebody_created_is_taken_up():
    Schedule.objects.create(name="poll", task=PATH, args=[1], every=HOUR)
    now = get_engine().now() + SECOND
    assert schedules.next_due() <= now
    assert schedules.enqueue_due(now).jobs == []
    assert now < schedules.next_due() <= now + HOUR


def test_a_rule_that_somebody_changed_never_replays_the_past(make):
    make()
    change_past_the_orm(cron="5-59/10 * * * *")
    schedules.enqueue_due(NOON + 10 * MINUTE)
    assert minutes() == [], "what is left of the old plan is no tick"
    schedules.enqueue_due(NOON + 15 * MINUTE)
    assert minutes() == [15]


def test_a_tick_that_both_rules_have_is_one(make):
    """As where two versions of the code see a rule differently."""
    make()
    for minute in range(10, 60, 10):
        Schedule.objects.update(planned_by=f"as of minute {minute}")
        schedules.enqueue_due(NOON + minute * MINUTE)
    assert minutes() == [10, 20, 30, 40, 50]
    Schedule.objects.update(planned_by="as of long ago")
    schedules.enqueue_due(NOON + HOUR + 2 * MINUTE)
    assert minutes() == [10, 20, 30, 40, 50], "not one that is past"


def change_past_the_orm(**columns):
    """As by SQL: the scheduler's own columns stay as they are."""
    QuerySet.update(Schedule.objects.all(), **columns)


def test_save_does_not_undo_a_tick(make):
    stale = make()
    schedules.enqueue_due(NOON + 10 * MINUTE)
    stale.args = [2]
    stale.save()
    schedules.enqueue_due(NOON + 10 * MINUTE)
    assert minutes() == [10]
    Schedule.objects.all().pause()
    stale.save()
    row = Schedule.objects.get()
    assert (row.args, row.last_due) == ([2], NOON + 10 * MINUTE)
    assert row.paused_at is not None


def test_a_row_that_was_set_back_gives_no_second_job(make):
    make()
    before = Schedule.objects.values("next_due").get()
    schedules.enqueue_due(NOON + 10 * MINUTE)
    Schedule.objects.update(**before)
    schedules.enqueue_due(NOON + 11 * MINUTE)
    assert minutes() == [10]
    assert schedules.next_due() == NOON + 20 * MINUTE


@pytest.mark.parametrize("how", ["save", "update"])
def test_a_rule_that_was_changed_is_planned_at_once(make, how):
    schedule = make(cron="0 0 1 1 *", now=get_engine().now())
    if how == "save":
        schedule.cron = "* * * * *"
        schedule.save()
    else:
        Schedule.objects.update(cron="* * * * *")
    now = get_engine().now()
    schedules.enqueue_due(now + SECOND)
    assert schedules.next_due() - now < 61 * SECOND


def test_what_is_over_runs_again_at_another_time(make):
    schedule = make(cron="", at=NOON + HOUR)
    schedules.enqueue_due(NOON + HOUR)
    schedule.refresh_from_db()
    assert schedule.next_due is None
    schedule.at = later = get_engine().now() + DAY
    schedule.save()
    schedules.enqueue_due(get_engine().now() + SECOND)
    assert schedules.next_due() == later


def test_ticks_of_a_new_row_count_from_when_it_was_made():
    Schedule.objects.create(
        name="poll", task=PATH, args=[1], cron="*/10 * * * *", next_due=NOON
    )
    schedules.enqueue_due(NOON + 15 * MINUTE)
    schedules.enqueue_due(NOON + 15 * MINUTE)
    assert minutes() == [10], "though nobody looked until then"


def test_a_changed_time_zone_never_replays_the_past(make):
    make(cron="0 * * * *")
    schedule = Schedule.objects.get()
    schedule.timezone = "Pacific/Apia"
    schedules.save(schedule, NOON + 100 * DAY)
    assert schedules.enqueue_due(NOON + 100 * DAY + 59 * MINUTE).jobs == []
    schedules.enqueue_due(NOON + 100 * DAY + HOUR)
    assert ticks() == [NOON + 100 * DAY + HOUR]


@pytest.mark.skipif(not settings.USE_TZ, reason="rows are then in the zone of before")
def test_a_changed_default_zone_never_replays_the_past(make, settings):
    make(cron="0 3 * * *")
    settings.TIME_ZONE = "America/New_York"
    assert schedules.enqueue_due(NOON + DAY).jobs == []
    assert schedules.next_due() == NOON.replace(day=3, hour=9)


def test_a_clock_that_was_set_back_gives_no_second_job(make):
    make()
    schedules.enqueue_due(NOON + 10 * MINUTE)
    schedule = Schedule.objects.get()
    schedules.save(schedule, NOON - HOUR)
    assert schedule.next_due == NOON + 20 * MINUTE


# -- missed ticks


@pytest.mark.parametrize(
    ("missed", "late", "expected"),
    [
        ("latest", 0, [30]),
        ("latest", 9 * 60, [30]),
        ("skip", 0, [30]),
        ("skip", 59, [30]),
        ("skip", 61, []),
        ("all", 0, [10, 20, 30]),
        ("all", 9 * 60, [10, 20, 30]),
    ],
)
def test_what_is_made_up_for(make, missed, late, expected):
    make(missed=missed)
    round_ = schedules.enqueue_due(NOON + 30 * MINUTE + late * SECOND)
    assert minutes() == expected
    assert bool(round_.missed) == (missed != "all")
    assert schedules.next_due() == NOON + 40 * MINUTE


def test_to_make_up_for_all_has_a_limit(make, monkeypatch):
    monkeypatch.setattr(schedules, "MISSED_LIMIT", 5)
    make(missed="all")
    schedules.enqueue_due(NOON + 7 * DAY)
    last = 7 * 24 * 60
    assert minutes() == [last - 40, last - 30, last - 20, last - 10, last]


def test_what_is_enough_for_one_transaction_is_left_to_the_next(make, monkeypatch):
    monkeypatch.setattr(schedules, "ENOUGH_JOBS", 5)
    for name in "abc":
        make(name, missed="all")
    rounds = [schedules.enqueue_due(NOON + 30 * MINUTE) for _ in range(3)]
    assert [len(round_.jobs) for round_ in rounds] == [6, 3, 0]
    assert [round_.looked_at for round_ in rounds] == [2, 1, 0]
    assert [minutes(name) for name in "abc"] == [[10, 20, 30]] * 3


def test_a_year_of_missed_seconds_takes_no_time(make):
    make(cron="", every=SECOND)
    schedules.enqueue_due(NOON + 365 * DAY)
    assert ticks() == [NOON + 365 * DAY]


# -- overlap


def test_no_job_while_the_last_one_is_not_finished(make):
    make(overlap="skip", missed="all")
    schedules.enqueue_due(NOON + 20 * MINUTE)
    assert minutes() == [20], "of several, one"
    round_ = schedules.enqueue_due(NOON + 30 * MINUTE)
    assert (round_.jobs, round_.overlaps, round_.missed) == ([], ["poll"], [])
    Job.objects.update(status="FAILED", finished_at=NOON)
    schedules.enqueue_due(NOON + 40 * MINUTE)
    assert minutes() == [20, 40]
    Job.objects.all().delete()
    schedules.enqueue_due(NOON + 50 * MINUTE)
    assert minutes() == [50], "one that was pruned is finished"


def test_overlap_is_allowed_unless_forbidden(make):
    make()
    for minute in (10, 20, 30):
        schedules.enqueue_due(NOON + minute * MINUTE)
    assert minutes() == [10, 20, 30]


# -- jitter, bounds, one-off


def test_jitter_delays_the_job_and_not_the_tick(make):
    make(jitter=5 * MINUTE)
    (job,) = schedules.enqueue_due(NOON + 10 * MINUTE).jobs
    job.refresh_from_db()
    assert job.scheduled_for == NOON + 10 * MINUTE
    assert job.scheduled_for < job.run_after < job.scheduled_for + 5 * MINUTE
    assert job.status == "SCHEDULED"


def test_a_one_off_schedule_is_over_after_its_time(make):
    make(at=NOON + HOUR)
    schedules.enqueue_due(NOON + 2 * HOUR)
    assert minutes() == [60]
    assert schedules.next_due() is None


def test_the_end_is_the_end(make):
    make(end=NOON + 25 * MINUTE)
    for minute in range(0, 60, 5):
        schedules.enqueue_due(NOON + minute * MINUTE)
    assert minutes() == [10, 20]
    assert schedules.next_due() is None


def test_an_hour_that_is_repeated():
    make_half_hourly = {"task": PATH, "args": [1], "cron": "*/30 * * * *"}
    begin = at("10-25 01:50")
    schedules.save(Schedule(name="poll", **make_half_hourly), begin)
    now = as_aware(begin).astimezone(UTC)
    for _ in range(30):
        schedules.enqueue_due(as_stored(now))
        now += timedelta(minutes=5)
    seen = [f"{as_aware(tick):%H:%M}" for tick in ticks()]
    if settings.USE_TZ:
        assert [f"{t:%H:%M}" for t in ticks()] == [
            "00:00",
            "00:30",
            "01:00",
            "01:30",
            "02:00",
        ]
    else:
        # Rows cannot tell the hours apart; each time comes once.
        assert seen == ["02:00", "02:30", "03:00"]


# -- what is wrong with a row does not touch the others


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"cron": "x"}, "cron is 'x'"),
        ({"timezone": "x"}, "timezone is 'x'"),
        ({"task": "gone.away"}, "task is 'gone.away'"),
        ({"args": []}, "missing a required argument"),
        ({"args": {"a": 1}}, "args is"),
        ({"kwargs": None}, "kwargs is None"),
        ({"every": HOUR}, "one of them is enough"),
        ({"missed": "?"}, "missed is '?'"),
    ],
)
def test_a_bad_row_is_reported_and_passed_over(make, columns, said):
    make("a bad one", every=MINUTE)
    make("good")
    columns = {"cron": "*/10 * * * *", "every": None, **columns}
    null = {k: v for k, v in columns.items() if v is not None or k == "every"}
    QuerySet.update(Schedule.objects.filter(pk="a bad one"), **null)
    if "kwargs" in columns:
        set_to_json_null("kwargs")
    first = schedules.enqueue_due(NOON + 10 * MINUTE)
    problem = Schedule.objects.get(pk="a bad one").problem
    assert said in problem
    assert first.problems == {"a bad one": problem}
    assert minutes("good") == [10]
    second = schedules.enqueue_due(NOON + 20 * MINUTE)
    assert second.problems == {}, "once"
    assert minutes("good") == [10, 20]
    assert minutes("a bad one") == []


def set_to_json_null(column):
    table = Schedule._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} SET {column} = 'null' WHERE name = 'a bad one'"  # noqa: S608 (our own table)
        )


def test_what_the_database_does_not_take_is_passed_over(make, monkeypatch):
    """Something that no check of ours has foreseen."""
    make("a bad one")
    make("good")
    as_it_is = schedules._job

    def job(periodic, *args):
        made = as_it_is(periodic, *args)
        if periodic.name == "a bad one":
            made.task = None
        return made

    monkeypatch.setattr(schedules, "_job", job)
    round_ = schedules.enqueue_due(NOON + 10 * MINUTE)
    assert list(round_.problems) == ["a bad one"]
    assert Schedule.objects.with_problem().get().pk == "a bad one"
    assert (minutes("good"), minutes("a bad one")) == ([10], [])


def test_a_statement_that_is_too_large_is_passed_over(make, only):
    only("mysql")
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        (limit,) = cursor.fetchone()
    make("a bad one")
    make("good")
    as_it_is = schedules._job

    def job(periodic, *args):
        made = as_it_is(periodic, *args)
        if periodic.name == "a bad one":
            made.args = ["x" * limit]
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedules, "_job", job)
        try:
            round_ = schedules.enqueue_due(NOON + 10 * MINUTE)
        except OperationalError as error:
            pytest.fail(f"taken for trouble: {error}")
    assert list(round_.problems) == ["a bad one"]
    assert minutes("good") == [10]


def test_a_problem_that_is_no_more_is_noticed(make):
    make()
    Schedule.objects.update(problem="task is unknown")
    assert schedules.enqueue_due(NOON + 30 * MINUTE).jobs == []
    assert schedules.recheck() == (["poll"], "")
    schedules.enqueue_due(NOON + 30 * MINUTE)
    assert minutes() == [30], "by the rules for ticks that were missed"
    Schedule.objects.update(task="gone.away", problem="task is unknown")
    assert schedules.recheck() == ([], "")


def test_of_many_problems_some_are_looked_at_in_turn(make):
    for name in "abcde":
        make(name)
    Schedule.objects.update(problem="some")
    looks, after = [], ""
    for _ in range(3):
        healed, after = schedules.recheck(after, limit=2)
        looks.append(healed)
    assert looks == [["a", "b"], ["c", "d"], ["e"]]
    assert after == ""
    assert not Schedule.objects.with_problem().exists()


# -- who owns what


def declared(**options):
    return [
        Declared(name, "settings", given and {"task": PATH, "args": [1], **given})
        for name, given in options.items()
    ]


def test_rows_follow_what_is_declared(make):
    make("mine")
    assert schedules.sync(declared(a={"every": 60}, b={"every": 60}), NOON) == {}
    a = Schedule.objects.get(pk="a")
    assert (a.source, a.every, a.next_due) == ("settings", MINUTE, NOON + MINUTE)
    schedules.enqueue_due(NOON + MINUTE)
    schedules.sync(declared(a={"every": 120}), NOON + 1.5 * MINUTE)
    a.refresh_from_db()
    assert (a.every, a.next_due) == (2 * MINUTE, NOON + 2 * MINUTE)
    assert a.last_due == NOON + MINUTE
    assert set(Schedule.objects.values_list("pk", flat=True)) == {"a", "mine"}


def test_what_has_not_changed_is_left_alone(make):
    schedules.sync(declared(a={"every": 60}), NOON)
    missed = NOON + HOUR
    schedules.sync(declared(a={"every": 60}), missed)
    schedules.enqueue_due(missed)
    assert minutes("a") == [60], "ticks that were missed while nothing ran count"


def test_a_name_in_another_case_is_the_same_where_the_database_says_so(make, only):
    only("mysql")
    schedules.sync(declared(poll={"every": 60}), NOON)
    schedules.sync(declared(Poll={"every": 90}), NOON)
    assert [row.every for row in Schedule.objects.all()] == [1.5 * MINUTE]


def test_who_paused_it_has_paused_it(make):
    schedules.sync(declared(a={"every": 60}), NOON)
    assert schedules.pause(Schedule.objects.all(), NOON) == 1
    schedules.sync(declared(a={"every": 90}), NOON)
    assert schedules.enqueue_due(NOON + HOUR).jobs == []
    row = Schedule.objects.get()
    assert (row.paused_at, row.next_due, row.every) == (NOON, None, 1.5 * MINUTE)
    assert schedules.resume(Schedule.objects.all(), NOON + HOUR) == 1
    assert schedules.enqueue_due(NOON + HOUR).jobs == [], "what passed is past"
    schedules.enqueue_due(NOON + HOUR + 90 * SECOND)
    assert len(ticks("a")) == 1


def test_to_resume_is_no_tick(make):
    make()
    Schedule.objects.all().pause()
    Schedule.objects.all().resume()
    assert schedules.enqueue_due(get_engine().now()).jobs == []
    assert schedules.next_due() > get_engine().now()


def test_what_is_declared_wrongly_leaves_its_row(make):
    schedules.sync(declared(a={"every": 60}), NOON)
    problems = schedules.sync(declared(a={"every": -1}, b={"every": 60}), NOON)
    assert list(problems) == ["a"]
    assert Schedule.objects.get(pk="a").every == MINUTE
    assert Schedule.objects.filter(pk="b").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"every": 60, "args": [{1}]},
        {"every": 60, "priority": "high"},
        {"every": 60, "priority": 10**6},
        {"every": 60, "task": "x" * 300},
        {"every": 60, "queue_name": "x" * 300},
        {"every": 60, "jitter": timedelta.max},
        {"cron": ",".join(["1"] * 200) + " * * * *"},
    ],
)
def test_a_bad_declaration_stops_no_other(options):
    problems = schedules.sync(declared(bad=options, good={"every": 60}), NOON)
    assert list(problems) == ["bad"]
    assert [row.pk for row in Schedule.objects.all()] == ["good"]


def test_settings_take_over_what_the_admin_had_made(make):
    make("a")
    schedules.sync(declared(a={"every": 60}), NOON)
    row = Schedule.objects.get()
    assert (row.source, row.cron, row.every) == ("settings", "", MINUTE)
    schedules.sync([], NOON)
    assert not Schedule.objects.exists()


# -- by hand


def test_run_now_is_no_tick(make):
    make(overlap="skip")
    job = schedules.run_now("poll", NOON)
    job.refresh_from_db()
    assert (job.schedule, job.scheduled_for, job.status) == ("poll", None, "READY")
    schedule = Schedule.objects.get()
    assert (schedule.last_job, schedule.next_due) == (job.pk, NOON + 10 * MINUTE)
    assert schedules.enqueue_due(NOON + 10 * MINUTE).overlaps == ["poll"]


def test_run_now_hides_no_job_that_is_not_finished(make):
    make(overlap="skip")
    schedules.enqueue_due(NOON + 10 * MINUTE)
    by_hand = schedules.run_now("poll", NOON)
    Job.objects.filter(pk=by_hand.pk).update(status="SUCCESSFUL", finished_at=NOON)
    assert schedules.enqueue_due(NOON + 20 * MINUTE).overlaps == ["poll"]


def test_run_now_says_what_is_wrong(make):
    make()
    Schedule.objects.update(task="gone.away")
    with pytest.raises(InvalidSchedule, match=r"gone\.away"):
        schedules.run_now("poll")
    with pytest.raises(Schedule.DoesNotExist):
        schedules.run_now("nobody")


# -- several at a time


def test_what_another_scheduler_is_at_is_passed_over(make, only):
    only("postgresql", "mysql")
    a = make("a")
    make("b")
    with held(a):
        round_ = schedules.enqueue_due(NOON + 10 * MINUTE)
    assert [job.schedule for job in round_.jobs] == ["b"]
    schedules.enqueue_due(NOON + 10 * MINUTE)
    assert (minutes("a"), minutes("b")) == ([10], [10])


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (schedules, "_unfinished_jobs"),
        (lifecycle, "enqueue"),
        (lifecycle, "call_workers"),
    ],
)
def test_who_dies_halfway_has_done_nothing(make, monkeypatch, owner, name):
    def die(*args, **kwargs):
        raise KeyboardInterrupt

    make()
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, die)
        with pytest.raises(KeyboardInterrupt):
            schedules.enqueue_due(NOON + 10 * MINUTE)
    assert minutes() == []
    schedules.enqueue_due(NOON + 11 * MINUTE)
    assert minutes() == [10]


def test_a_batch_is_not_all(make):
    for n in range(7):
        make(f"{n}")
    rounds = [schedules.enqueue_due(NOON + 10 * MINUTE, limit=3) for _ in range(4)]
    assert [round_.looked_at for round_ in rounds] == [3, 3, 1, 0]
    assert Job.objects.count() == 7


def test_many_schedulers_at_once_make_one_job_a_tick(make):
    for n in range(20):
        make(f"{n}", missed="all")
    failures = []
    start = threading.Barrier(4)

    def schedule():
        try:
            start.wait()
            for minute in range(0, 60, 3):
                try:
                    schedules.enqueue_due(NOON + minute * MINUTE, limit=7)
                except Exception as error:
                    if not get_engine().is_conflict(error):
                        raise
        except Exception as error:  # noqa: BLE001 (told by the other thread)
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=schedule) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    while schedules.enqueue_due(NOON + 57 * MINUTE).looked_at:
        pass
    for n in range(20):
        assert minutes(f"{n}") == [10, 20, 30, 40, 50]
