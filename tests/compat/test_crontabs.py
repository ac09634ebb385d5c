"""What celery means by a crontab, and what croniter makes of the expression for it."""

import pytest
from croniter import croniter

from django_bgtasks.compat.crontabs import cron_of
from django_bgtasks.compat.importing import LeftOut
from django_bgtasks.compat.tables import Row
from django_bgtasks.rules import Rule

pytestmark = pytest.mark.once


def cron(**fields):
    return cron_of(Row(fields, None, None))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "* * * * *"),
        ({"minute": "0", "hour": "4"}, "0 4 * * *"),
        ({"minute": "0, 30", "hour": " 9-17 "}, "0,30 9-17 * * *"),
        ({"minute": "*/15"}, "*/15 * * * *"),
        ({"day_of_week": "mon-fri"}, "* * * * 1-5"),
        ({"day_of_week": "Monday,Sunday"}, "* * * * 1,0"),
        ({"month_of_year": "jan,March"}, "* * * 1,3 *"),
        ({"day_of_month": "*/1", "day_of_week": "1"}, "* * * * 1"),
    ],
)
def test_what_both_read_alike_is_kept(fields, expected):
    assert cron(**fields) == expected


@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [
        # To croniter, that is each day of the week.
        ("day_of_week", "3-3", "3"),
        ("minute", "*,5", "*"),
        # A step beyond the field, which a rule refuses.
        ("minute", "*/90", "0"),
        # Around the end, with a step.
        ("hour", "21-13/9", "6,21"),
        ("day_of_month", "27-9/6", "2,8,27"),
        ("day_of_week", "fri-mon", "0,1,5,6"),
    ],
)
def test_what_croniter_reads_otherwise_is_written_out(field, text, expected):
    fields = dict.fromkeys(
        ("minute", "hour", "day_of_month", "month_of_year", "day_of_week"), "*"
    )
    expression = cron(**{**fields, field: text})
    assert expected in expression.split()
    assert croniter.is_valid(expression)
    Rule(cron=expression)


@pytest.mark.parametrize(
    ("day", "expected"),
    [("1-7", "0 9 * * 1#1"), ("8-14", "0 9 * * 1#2"), ("22-28", "0 9 * * 1#4")],
)
def test_a_weekday_in_one_week_of_the_month(day, expected):
    fields = {"minute": "0", "hour": "9", "day_of_month": day, "day_of_week": "mon"}
    assert cron(**fields) == expected
    Rule(cron=expected)


def test_two_days_that_must_both_be_true_are_left_out():
    with pytest.raises(LeftOut, match="both are true, and cron where one is"):
        cron(day_of_month="13", day_of_week="fri")


@pytest.mark.parametrize(
    "text", ["60", "x", "1-", "5/2", "*/0", "*/", "1,,2", "-1", "1-2-3", "²"]
)
def test_nonsense_is_left_out(text):
    with pytest.raises(LeftOut, match="minute"):
        cron(minute=text)
