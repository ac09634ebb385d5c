"""What schedules are going to do."""

from datetime import timedelta

import pytest

from django_bgtasks.models import Schedule
from django_bgtasks.store.agenda import TICK_LIMIT, agenda
from django_bgtasks.timing import as_aware
from tests.admin.pages import utc

pytestmark = pytest.mark.django_db

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
# A Wednesday, 14:00:20 in Berlin.
NOW = utc(2030, 5, 1, 12, 0, 20)


def schedule(name, **columns):
    columns = {"task": "t", "next_due": NOW + MINUTE, **columns}
    return Schedule.objects.create(name=name, **columns)


def plan_of(**columns):
    schedule("one", timezone="UTC", **columns)
    (plan,) = agenda(NOW).plans
    return plan


def hours(moment):
    """Since noon."""
    return (moment - as_aware(NOW.replace(second=0))) / HOUR


def test_runs_of_the_next_24_hours():
    plan = plan_of(cron="0 */6 * * *")
    assert [hours(tick) for tick in plan.ticks] == [6, 12, 18, 24]
    assert plan.stretches == ()


def test_what_is_due_and_has_not_run_comes_first():
    plan = plan_of(cron="0 20 * * *", next_due=NOW - HOUR)
    assert [round(hours(tick), 1) for tick in plan.ticks] == [-1.0, 8]


def test_a_run_of_this_minute_that_has_been_is_not_to_come():
    plan = plan_of(every=MINUTE / 6, end=NOW + MINUTE / 3)
    assert [tick - as_aware(NOW) for tick in plan.ticks] == [
        timedelta(seconds=10),
        timedelta(seconds=20),
    ]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"cron": "* * * * *"}, [(1 / 60, 24)]),
        ({"every": 5 * MINUTE}, [(1 / 12, 24)]),
        ({"cron": "*/5 9-17 * * *"}, [(1 / 12, 5 + 55 / 60), (21, 24)]),
        ({"cron": "* 20 * * *"}, [(8, 8 + 59 / 60)]),
    ],
)
def test_many_runs_are_stretches(rule, expected):
    plan = plan_of(**rule)
    assert plan.ticks == ()
    found = [(hours(since), hours(until)) for since, until in plan.stretches]
    assert found == [pytest.approx(stretch) for stretch in expected]


def test_as_many_runs_as_can_be_told_apart():
    plan = plan_of(every=24 * HOUR / TICK_LIMIT)
    assert len(plan.ticks) == TICK_LIMIT


def test_paused_ones_and_those_with_a_problem_have_none():
    schedule("broken", cron="* * * * *", problem="No such task.")
    schedule("paused", cron="* * * * *", paused_at=NOW, next_due=None)
    schedule("over", at=NOW - HOUR, next_due=None)
    schedule("later", cron="0 * * * *", next_due=NOW + HOUR)
    schedule("soon", cron="0 * * * *", next_due=NOW + MINUTE)
    schedule("nonsense", cron="every day", next_due=NOW)
    found = agenda(NOW)
    assert [(p.schedule.name, len(p.ticks)) for p in found.plans] == [
        ("broken", 0),
        ("nonsense", 0),
        ("soon", 24),
        ("later", 24),
        ("paused", 0),
    ]
    assert found.total == 6


@pytest.mark.parametrize("count", [0, 1, 30])
def test_it_is_bounded(count, django_assert_num_queries):
    for n in range(count):
        schedule(f"s{n}", cron="0 0 * * *", problem="x" if n % 3 == 1 else "")
    with django_assert_num_queries(4):
        found = agenda(NOW)
    assert len(found.plans) == min(count, 20)
    assert found.total == count
