"""Rules: when ticks are, above all where clocks change."""

from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st

from django_bgtasks.exceptions import InvalidSchedule
from django_bgtasks.rules import EPOCH, Rule

pytestmark = pytest.mark.once

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def ticks_between(rule, begin, end):
    tick = rule.next_after(begin - timedelta.resolution)
    while tick is not None and tick < end:
        yield tick
        tick = rule.next_after(tick)


def local(zone, text):
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


# -- a year of ticks, against croniter on a calendar without clocks that change

SPECS = [
    "*/30 * * * *",
    "17 * * * *",
    "*/15 * * * 7",
    "0 3 * * *",
    "30 2 * * *",
    "*/20 2 * * *",
    "15 1,2,3 * * *",
    "0 0 * * *",
    "45 23 * * 6",
    "0 */2 * * *",
    "5 0 L * *",
    "30 2 * * sun",
    "0 12 * * mon#1",
    "0 9 1,15 * fri",
    "@daily",
    "@hourly",
    "@monthly",
]
YEARS = [
    ("UTC", 2026),
    ("Europe/Berlin", 2026),
    ("America/New_York", 2026),
    ("Australia/Sydney", 2026),
    ("Australia/Lord_Howe", 2026),
    ("Asia/Kolkata", 2026),
    ("America/Sao_Paulo", 2018),
    ("Europe/Dublin", 2026),
    ("Africa/Casablanca", 2026),
    ("Pacific/Apia", 2011),
]


@cache
def offsets(zone, year):
    """All that clocks of a zone are ahead of UTC in a year, hour by hour."""
    begin = local(zone, f"{year}-01-01").astimezone(UTC)
    moments = (begin + hour * HOUR for hour in range(366 * 24))
    return {moment.astimezone(ZoneInfo(zone)).utcoffset() for moment in moments}


def moments_of(wall, zone):
    """When clocks showed ``wall``, the earlier moment first."""
    candidates = [
        (wall - ahead).replace(tzinfo=UTC) for ahead in offsets(zone, wall.year)
    ]
    return sorted(
        moment
        for moment in candidates
        if moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0) == wall
    )


@cache
def calendar(year, expression):
    """All that clocks show when it is due in a year, if they never change."""
    walls = croniter(expression, datetime(year, 1, 1) - MINUTE).all_next(datetime)
    return list(takewhile(lambda wall: wall.year == year, walls))


def expected_ticks(zone, year, expression):
    leaves_hour_open = expression == "@hourly" or expression.split()[1:2] == ["*"]
    ticks = set()
    for wall in calendar(year, expression):
        if leaves_hour_open:
            ticks.update(moments_of(wall, zone))
            continue
        shown = wall
        while not moments_of(shown, zone):
            shown += MINUTE
        ticks.add(moments_of(shown, zone)[0])
    return sorted(ticks)


@pytest.mark.slow
@pytest.mark.parametrize("expression", SPECS)
@pytest.mark.parametrize(("zone", "year"), YEARS)
def test_a_year_has_the_ticks_that_its_calendar_has(zone, year, expression):
    rule = Rule(cron=expression, timezone=zone)
    begin, end = (local(zone, f"{y}-01-01").astimezone(UTC) for y in (year, year + 1))
    assert list(ticks_between(rule, begin, end)) == expected_ticks(
        zone, year, expression
    )


@pytest.mark.parametrize("expression", ["*/10 * * * * *", "30 4 1 * * 15"])
def test_a_sixth_field_is_for_seconds(expression):
    begin, end = (datetime(2026, 3, day, tzinfo=UTC) for day in (1, 2))
    rule = Rule(cron=expression, timezone="UTC")
    walls = croniter(expression, datetime(2026, 2, 28, 23, 59, 59)).all_next(datetime)
    expected = [
        w.replace(tzinfo=UTC)
        for w in takewhile(lambda w: w < end.replace(tzinfo=None), walls)
    ]
    assert list(ticks_between(rule, begin, end)) == expected


@pytest.mark.parametrize(
    "expression", ["5 3-3 * * *", "5 3-3/2 * * *", "5-5 3 * * 0-6"]
)
def test_a_range_of_one_value_is_that_value(expression):
    rule, plain = (Rule(cron=c, timezone="UTC") for c in (expression, "5 3 * * *"))
    begin, end = (datetime(2026, 3, day, tzinfo=UTC) for day in (1, 9))
    assert list(ticks_between(rule, begin, end)) == list(
        ticks_between(plain, begin, end)
    )


# -- by hand, around both changes

BY_HAND = [
    # Forward at 02:00 to 03:00 on 29 March; back at 03:00 to 02:00 on 25 October.
    ("Europe/Berlin", "30 2 * * *", "2026-03-28 12:00", "03-29 03:00+02:00 03-30 02:30+02:00"),
    ("Europe/Berlin", "0 2,3 * * *", "2026-03-28 12:00", "03-29 03:00+02:00 03-30 02:00+02:00"),
    ("Europe/Berlin", "*/30 * * * *", "2026-03-29 01:00", "03-29 01:30+01:00 03-29 03:00+02:00"),
    ("Europe/Berlin", "30 2 * * *", "2026-10-24 12:00", "10-25 02:30+02:00 10-26 02:30+01:00"),
    ("Europe/Berlin", "30 * * * *", "2026-10-25 02:00", "10-25 02:30+02:00 10-25 02:30+01:00 10-25 03:30+01:00"),
    ("Europe/Berlin", "0 3 * * *", "2026-10-25 01:00", "10-25 03:00+01:00 10-26 03:00+01:00"),
    # Forward at 02:00 on 8 March, back at 02:00 to 01:00 on 1 November.
    ("America/New_York", "15 2 * * *", "2026-03-07 12:00", "03-08 03:00-04:00 03-09 02:15-04:00"),
    ("America/New_York", "15 1 * * *", "2026-10-31 12:00", "11-01 01:15-04:00 11-02 01:15-05:00"),
    # The other hemisphere: back on 5 April, forward on 4 October.
    ("Australia/Sydney", "30 2 * * *", "2026-04-04 12:00", "04-05 02:30+11:00 04-06 02:30+10:00"),
    ("Australia/Sydney", "30 2 * * *", "2026-10-03 12:00", "10-04 03:00+11:00 10-05 02:30+11:00"),
    # By half an hour: back at 02:00 to 01:30, forward at 02:00 to 02:30.
    ("Australia/Lord_Howe", "45 1 * * *", "2026-04-04 12:00", "04-05 01:45+11:00 04-06 01:45+10:30"),
    ("Australia/Lord_Howe", "*/15 * * * *", "2026-04-05 01:40", "04-05 01:45+11:00 04-05 01:30+10:30 04-05 01:45+10:30 04-05 02:00+10:30"),
    ("Australia/Lord_Howe", "15 2 * * *", "2026-10-03 12:00", "10-04 02:30+11:00 10-05 02:15+11:00"),
    ("Australia/Lord_Howe", "15 * * * *", "2026-10-04 01:00", "10-04 01:15+10:30 10-04 03:15+11:00"),
    # No changes, and half an hour beside the others.
    ("Asia/Kolkata", "30 2 * * *", "2026-03-28 12:00", "03-29 02:30+05:30 03-30 02:30+05:30"),
    # At midnight: forward to 01:00 on 15 October 2017, back to 23:00 on 17 February 2018.
    ("America/Sao_Paulo", "0 0 * * *", "2017-10-14 12:00", "10-15 01:00-02:00 10-16 00:00-02:00"),
    ("America/Sao_Paulo", "30 23 * * *", "2018-02-17 12:00", "02-17 23:30-02:00 02-18 23:30-03:00"),
    ("America/Sao_Paulo", "0 0 * * *", "2018-02-17 12:00", "02-18 00:00-03:00 02-19 00:00-03:00"),
    # A day that there was not: 30 December 2011.
    ("Pacific/Apia", "0 9 * * *", "2011-12-29 00:00", "12-29 09:00-10:00 12-31 00:00+14:00 12-31 09:00+14:00"),
]  # fmt: skip


@pytest.mark.parametrize(("zone", "expression", "begin", "expected"), BY_HAND)
def test_around_a_change_of_clocks(zone, expression, begin, expected):
    rule = Rule(cron=expression, timezone=zone)
    tick, seen = local(zone, begin), []
    for _ in range(expected.count(":") // 2):
        tick = rule.next_after(tick)
        seen.append(tick.astimezone(rule.zone).isoformat(" ", "minutes")[5:])
    assert " ".join(seen) == expected


def test_within_a_repeated_hour_what_it_showed_before_has_been():
    rule = Rule(cron="30 2 * * *", timezone="Europe/Berlin")
    second_quarter_past_two = datetime(2026, 10, 25, 1, 15, tzinfo=UTC)
    assert rule.next_after(second_quarter_past_two) == datetime(
        2026, 10, 26, 1, 30, tzinfo=UTC
    )


def test_what_runs_later_than_its_time_says_so():
    rule = Rule(cron="30 2 * * *", timezone="Europe/Berlin")
    assert rule.is_moved(datetime(2026, 3, 29, 1, tzinfo=UTC))
    assert not rule.is_moved(datetime(2026, 3, 30, 0, 30, tzinfo=UTC))
    assert not Rule(every=MINUTE).is_moved(datetime(2026, 3, 29, 1, 1, 1, tzinfo=UTC))


# -- intervals, single moments, bounds


def test_intervals_are_time_that_has_passed():
    rule = Rule(
        every=timedelta(days=1), start=local("Europe/Berlin", "2026-03-28 12:00")
    )
    ticks = list(ticks_between(rule, rule.start, rule.start + timedelta(days=3)))
    assert [tick.hour for tick in ticks] == [11, 11, 11]


def test_intervals_are_counted_from_1970_and_have_a_phase():
    rule = Rule(every=timedelta(minutes=10), phase=timedelta(minutes=3))
    assert rule.next_after(datetime(2026, 1, 1, 12, 3, tzinfo=UTC)) == datetime(
        2026, 1, 1, 12, 13, tzinfo=UTC
    )
    assert rule.next_after(datetime(2026, 1, 1, 12, 2, 59, tzinfo=UTC)).minute == 3


def test_a_single_moment_comes_once():
    at = local("Europe/Berlin", "2026-05-01 12:00")
    rule = Rule(at=at)
    assert rule.next_after(at - timedelta.resolution) == at
    assert rule.next_after(at) is None


def test_bounds_are_ticks_themselves():
    start, end = (datetime(2026, 1, day, 3, tzinfo=UTC) for day in (5, 7))
    rule = Rule(cron="0 3 * * *", timezone="UTC", start=start, end=end)
    ticks = list(ticks_between(rule, EPOCH, datetime(2027, 1, 1, tzinfo=UTC)))
    assert [tick.day for tick in ticks] == [5, 6, 7]


def test_the_zone_is_the_projects_unless_given(settings):
    settings.TIME_ZONE = "Asia/Kolkata"
    tick = Rule(cron="0 3 * * *").next_after(datetime(2026, 1, 1, tzinfo=UTC))
    assert tick == datetime(2026, 1, 1, 21, 30, tzinfo=UTC)


def test_beyond_the_calendar_there_is_nothing():
    last = datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
    assert Rule(cron="0 0 * * *", timezone="UTC").next_after(last) is None
    assert Rule(every=timedelta(days=1)).next_after(last) is None


# -- many ticks at once


@given(
    every=st.integers(1, 5000),
    begin=st.integers(0, 10**6),
    length=st.floats(0, 30_000),
    limit=st.integers(1, 20),
)
def test_the_latest_ticks_are_the_last_of_all(every, begin, length, limit):
    rule = Rule(every=timedelta(seconds=every))
    after = EPOCH + timedelta(seconds=begin)
    until = after + timedelta(seconds=length)
    every_tick = [
        tick
        for tick in ticks_between(rule, after, until + MINUTE / 60)
        if after < tick <= until
    ]
    assert rule.ticks(after, until, limit) == every_tick[-limit:]
    assert rule.latest(after, until) == (every_tick[-1] if every_tick else None)


@pytest.mark.parametrize("expression", ["*/9 2 * * *", "*/9 * * 1 *", "0 0 29 2 *"])
def test_the_latest_is_found_however_long_ago_it_was(expression):
    rule = Rule(cron=expression, timezone="Europe/Berlin")
    after = datetime(2023, 12, 1, tzinfo=UTC)
    until = datetime(2026, 11, 1, 12, 30, tzinfo=UTC)
    every_tick = list(ticks_between(rule, after, until))
    assert rule.latest(after, until) == every_tick[-1]
    assert rule.ticks(after, until, 100) == every_tick[-100:]


# -- what cannot be used


@pytest.mark.parametrize(
    ("options", "field", "said"),
    [
        ({}, "cron", "give one of cron, every and at"),
        ({"cron": "@daily", "every": MINUTE}, "every", "one of them is enough"),
        ({"cron": "0 3 * *"}, "cron", "must have 5 fields"),
        ({"cron": "0 0 1 1 * 0 2030"}, "cron", "must have 5 fields"),
        ({"cron": "61 * * * *"}, "cron", "no cron expression"),
        ({"cron": "0 0 * foo *"}, "cron", "no cron expression"),
        ({"cron": "@reboot"}, "cron", "no cron expression"),
        ({"cron": "*/90 * * * *"}, "cron", "use every"),
        ({"cron": "R * * * *"}, "cron", "use jitter"),
        ({"cron": "H(0-5) * * * *"}, "cron", "use jitter"),
        ({"cron": "0 0 30 2 *"}, "cron", "never comes"),
        ({"every": timedelta(seconds=0.5)}, "every", "from 1 second"),
        ({"every": timedelta(-1)}, "every", "from 1 second"),
        ({"every": timedelta(days=40_000)}, "every", "to 100 years"),
        ({"every": MINUTE, "phase": MINUTE}, "phase", "less than every"),
        ({"cron": "@daily", "phase": MINUTE}, "phase", "belongs to every"),
        ({"cron": "@daily", "timezone": "Europe/Berln"}, "timezone", "'Europe/Berlin'"),
        ({"cron": "@daily", "timezone": "../etc"}, "timezone", "no time zone"),
        (
            {"every": MINUTE, "start": EPOCH, "end": EPOCH - MINUTE},
            "end",
            "before start",
        ),
        (
            {"cron": "0 0 1 1 *", "start": EPOCH + MINUTE, "end": EPOCH + 2 * MINUTE},
            "cron",
            "never comes",
        ),
    ],
)
def test_what_cannot_be_used_is_named_with_the_way_out(options, field, said):
    with pytest.raises(InvalidSchedule, match=said) as caught:
        Rule(**options)
    assert caught.value.field == field
    assert str(caught.value).startswith(field)
    assert ".." not in str(caught.value).replace("../etc", "")
