"""How long a job may still take; nothing that a task reports breaks it."""

from datetime import datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from django_bgtasks.admin.progress import pace, percent

pytestmark = pytest.mark.once


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
    began = datetime(2025, 7, 1, 12, 0, 0)
    now = began + timedelta(seconds=4)
    assert pace({"done": 1, "total": 4, "message": "x"}, began, now) == (
        "25 % · running for 4.0 s · about 10 s left"
    )
    assert pace({"done": 4, "total": 4}, began, now) == "100 % · running for 4.0 s"
    assert pace({"done": 1, "total": None}, began, now) == "running for 4.0 s"
    assert pace({}, began, now) == "running for 4.0 s"


numbers = st.one_of(
    st.integers(-(2**63), 2**63), st.floats(-(2.0**63), 2.0**63), st.none(), st.text()
)


@given(numbers, numbers)
@example(1, 2e-309)
def test_whatever_was_reported(done, total):
    share = percent({"done": done, "total": total})
    assert share is None or 0 <= share <= 100
