from datetime import timedelta

import pytest
from django.utils.translation import override

from django_bgtasks.wording import interval, number, rough_duration

pytestmark = pytest.mark.once


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


@pytest.mark.parametrize(
    ("seconds", "text", "in_german"),
    [
        (86400, "1 d", "1 d"),
        (36 * 3600, "36 h", "36 h"),
        (900, "15 min", "15 min"),
        (90, "90 s", "90 s"),
        (0.25, "0.25 s", "0,25 s"),
        (86400 * 2000, "2,000 d", "2.000 d"),
    ],
)
def test_what_somebody_has_set_is_said_as_it_was(seconds, text, in_german):
    assert interval(timedelta(seconds=seconds)) == text
    with override("de"):
        assert interval(timedelta(seconds=seconds)) == in_german


def test_numbers_are_those_of_the_language():
    assert number(1234567) == "1,234,567"
    for language, text in {"de": "1.234.567", "zh-hans": "1234567"}.items():
        with override(language):
            assert number(1234567) == text
