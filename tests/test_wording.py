from datetime import timedelta

import pytest

from django_bgtasks.wording import duration, rough_duration

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 ms"),
        (0, "0 ms"),
        (0.0004, "0.4 ms"),
        (0.0567, "57 ms"),
        (1, "1.0 s"),
        (59.94, "59.9 s"),
        (60.9, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (7260, "2 h 1 min"),
        (86_400, "1 d"),
        (90_000, "1 d 1 h"),
    ],
)
def test_what_is_known_is_said_in_two_units(seconds, text):
    assert duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "1 s"),
        (0.2, "1 s"),
        (9.6, "10 s"),
        (11, "10 s"),
        (43, "45 s"),
        (57.4, "55 s"),
        (57.5, "1 min"),
        (150, "2 min"),
        (3569, "59 min"),
        (3570, "1 h"),
        (80_000, "22 h"),
        (84_600, "1 d"),
        (200_000, "2 d"),
    ],
)
def test_what_nobody_knows_exactly_is_said_in_one_unit(seconds, text):
    assert rough_duration(timedelta(seconds=seconds)) == text
