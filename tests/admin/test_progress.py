"""How long a job may still take; nothing that a task reports breaks it."""

from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from django_bgtasks.admin.progress import pace, percent, time_left

pytestmark = pytest.mark.once

SECOND = timedelta(seconds=1)


def test_it_goes_on_as_it_went_so_far():
    assert time_left({"done": 250, "total": 1000}, 60 * SECOND) == 180 * SECOND
    assert time_left({"done": 0.5, "total": 1}, 4 * SECOND) == 4 * SECOND


@pytest.mark.parametrize(
    ("done", "total", "elapsed"),
    [
        (0, 10, SECOND),
        (10, 10, SECOND),
        (11, 10, SECOND),
        (-1, 10, SECOND),
        (5, None, SECOND),
        (5, 0, SECOND),
        (5, 10, 0 * SECOND),
        (5, 10, -SECOND),
        (1, 2**63, SECOND),
        ("5", "10", SECOND),
    ],
)
def test_where_nothing_can_be_said(done, total, elapsed):
    assert time_left({"done": done, "total": total}, elapsed) is None


@pytest.mark.parametrize(
    ("done", "total", "expected"),
    [
        (0, 3, 0),
        (1, 3, 33),
        (2.999, 3, 99),
        (3, 3, 100),
        (4, 3, 100),
        (-1, 3, 0),
        (1, 2e-309, 100),
        (-1, 2e-309, 0),
        (1, 0, None),
        (1, None, None),
        ("1", 2, None),
    ],
)
def test_percents(done, total, expected):
    assert percent({"done": done, "total": total}) == expected


def test_one_line():
    assert pace({"done": 1, "total": 4, "message": "x"}, 4 * SECOND) == (
        "25 % · running for 4.0 s · about 12.0 s left"
    )
    assert pace({"done": 1, "total": None}, 4 * SECOND) == "running for 4.0 s"
    assert pace({}, 4 * SECOND) == "running for 4.0 s"


numbers = st.one_of(
    st.integers(-(2**63), 2**63), st.floats(-(2.0**63), 2.0**63), st.none(), st.text()
)


@given(numbers, numbers, st.timedeltas())
@example(1, 2e-309, SECOND)
@example(2e-309, 1, SECOND)
def test_whatever_was_reported(done, total, elapsed):
    left = time_left({"done": done, "total": total}, elapsed)
    assert left is None or left >= timedelta(0)
    share = percent({"done": done, "total": total})
    assert share is None or 0 <= share <= 100
