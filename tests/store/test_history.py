import pytest

from django_bgtasks.store.history import last_jobs
from tests.factories import make_job

pytestmark = pytest.mark.django_db


def test_the_last_jobs_of_each_schedule_oldest_first(django_assert_num_queries):
    of_a = [make_job(schedule="a") for _ in range(4)]
    of_b = [make_job(schedule="b")]
    make_job(schedule="c")
    make_job()
    with django_assert_num_queries(2):
        found = last_jobs(["a", "b", "none"], 3)
    assert found == {"a": of_a[1:], "b": of_b, "none": []}
    assert last_jobs([], 3) == {}
