"""Worker processes and how they connect: pools, and more than one database."""

import json

import pytest
from django.contrib.auth.models import User
from django.db import connection

from django_bgtasks.models import Job
from tests.sample import tasks as sample
from tests.sample import vandals

pytestmark = pytest.mark.django_db(transaction=True)

VANDALS = {"IMPORTS": [vandals.__name__]}


def test_processes_share_no_pool(start, only):
    only("postgresql")
    pool = {"min_size": 2, "max_size": 4, "timeout": 10}
    for n in range(200):
        vandals.write_from_where(f"{n}")
    supervisor = start(
        "run_tasks",
        "--processes=2",
        "--threads=4",
        "--drain",
        settings=VANDALS,
        # It opens a pool at its start, and its children must not inherit it.
        BGTASKS_TEST_APP="tests.sample.eager.EagerConfig",
        BGTASKS_TEST_DATABASES=json.dumps({"default": {"OPTIONS": {"pool": pool}}}),
    )
    assert supervisor.end() == 0, supervisor.output
    assert "a pool is open" in supervisor.output
    assert User.objects.count() == 200
    ran = Job.objects.values_list("result", "last_worker")
    process_of = {}
    for (pid, session, pooled), _ in ran:
        assert pooled
        assert process_of.setdefault(session, pid) == pid
    assert len(set(process_of.values())) == 2, "both took part"
    assert set(Job.objects.values_list("status", "attempt")) == {("SUCCESSFUL", 1)}


def test_each_database_is_left_clean(start, tmp_path):
    other = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(tmp_path / "other.sqlite3"),
        "CONN_MAX_AGE": None,
    }
    counts = []
    for n in range(2):
        vandals.leave_atomic_open_on("other")
        vandals.leave_atomic_open_on("default")
        counts.append(vandals.write_on("other"))
        sample.write_a_user(str(n))
    worker = start(
        "run_tasks",
        "--drain",
        "--threads=1",
        settings=VANDALS,
        BGTASKS_TEST_DATABASES=json.dumps(
            {"default": {"CONN_MAX_AGE": None}, "other": other}
        ),
    )
    assert worker.end() == 0
    assert Job.objects.exclude(status="SUCCESSFUL").count() == 0, worker.output
    for count in counts:
        count.refresh()
    assert [count.return_value for count in counts] == [1, 2]
    assert User.objects.count() == 2
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS t")
