from datetime import UTC, datetime, timedelta

import pytest

from django_bgtasks.estimating import eta

pytestmark = pytest.mark.once

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def left(done, total, seconds):
    progress = {"done": done, "total": total, "message": ""}
    return eta(progress, BEGIN, BEGIN + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("done", "total", "seconds", "expected"),
    [
        (10, 40, 60, 180),
        (2.5, 10, 60, 180),
        (40, 40, 60, 0),
        (1, 10, 2, 18),
        # 1 % says enough after a while.
        (1, 100, 30, 2970),
    ],
)
def test_the_rest_takes_as_long_as_what_was_done(done, total, seconds, expected):
    assert left(done, total, seconds) == timedelta(seconds=expected)


@pytest.mark.parametrize(
    ("done", "total", "seconds"),
    [
        pytest.param(0, 10, 60, id="nothing is done"),
        pytest.param(5, None, 60, id="nobody knows how much there is"),
        pytest.param(5, 0, 60, id="there is nothing"),
        pytest.param(None, 10, 60, id="nobody knows how much is done"),
        pytest.param(11, 10, 60, id="more is done than there is"),
        pytest.param(-1, 10, 60, id="less than nothing is done"),
        pytest.param(5, 10, 1.9, id="it has only begun"),
        pytest.param(1, 100, 29, id="it has hardly begun"),
        pytest.param(5, 10, -60, id="the clocks disagree"),
        pytest.param(1, 10**6, 60, id="it is years away"),
        pytest.param(1, 2**63, 60, id="it is further away than time goes"),
    ],
)
def test_nobody_guesses(done, total, seconds):
    assert left(done, total, seconds) is None


def test_what_reports_nothing_or_does_not_run_has_no_eta():
    progress = {"done": 1, "total": 2, "message": ""}
    assert eta(None, BEGIN, BEGIN) is None
    assert eta(progress, None, BEGIN) is None
