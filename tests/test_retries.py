from datetime import timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_bgtasks import RetryPolicy
from django_bgtasks.retries import check_backoff, delay_after

pytestmark = pytest.mark.once


def after(attempts):
    return SimpleNamespace(attempts=attempts)


def seconds(backoff, attempts, error=None):
    return delay_after(backoff, error or ValueError(), after(attempts)).total_seconds()


@given(attempt=st.integers(1, 10_000))
def test_full_jitter_stays_below_the_exponential_and_the_cap(attempt):
    delay = RetryPolicy().delay(attempt).total_seconds()
    assert 0 <= delay <= min(3600, 5 * 2 ** min(attempt - 1, 20))


def test_without_jitter_it_doubles_up_to_the_cap():
    policy = RetryPolicy(jitter=False)
    delays = [policy.delay(n).total_seconds() for n in (1, 2, 3, 11, 5000)]
    assert delays == [5, 10, 20, 3600, 3600]


def test_jitter_spreads():
    assert len({RetryPolicy().delay(5) for _ in range(20)}) > 10


def test_a_number_is_always_the_same():
    assert [seconds(7, n) for n in (1, 2, 9)] == [7, 7, 7]
    assert seconds(timedelta(minutes=1), 4) == 60


def test_of_a_list_each_retry_takes_one_and_the_last_repeats():
    assert [seconds([1, timedelta(seconds=5)], n) for n in (1, 2, 3)] == [1, 5, 5]


def test_a_callable_decides():
    def backoff(exception, task_result):
        return None if isinstance(exception, KeyError) else task_result.attempts * 2

    assert seconds(backoff, 3) == 6
    assert delay_after(backoff, KeyError(), after(3)) is None


@pytest.mark.parametrize("backoff", [0, 1.5, timedelta(1), [1, 2], RetryPolicy(), max])
def test_what_can_be_a_backoff(backoff):
    check_backoff(backoff)


@pytest.mark.parametrize("backoff", ["5", None, True, [1, "2"]])
def test_what_cannot_be_a_backoff(backoff):
    with pytest.raises(TypeError, match="backoff is"):
        check_backoff(backoff)


@pytest.mark.parametrize("backoff", [-1, [], [1, -2], timedelta(-1)])
def test_what_no_delay_can_be(backoff):
    with pytest.raises(ValueError, match="backoff is"):
        check_backoff(backoff)


@pytest.mark.parametrize("options", [{"base": -1}, {"factor": 0.5}, {"cap": -1}])
def test_a_policy_refuses_nonsense(options):
    with pytest.raises(ValueError, match="needs base"):
        RetryPolicy(**options)
