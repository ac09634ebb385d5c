"""The fixtures, in a project of their own that sets Django up as late as it can."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.once, pytest.mark.slow]

CONFTEST = """
import django
from django.conf import settings

pytest_plugins = ["django_bgtasks.pytest_plugin"]


def pytest_configure():
    backport = ["django_tasks"] if django.VERSION < (6, 0) else []
    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3"}},
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django_bgtasks",
            *backport,
        ],
        USE_TZ=True,
    )
    django.setup()
"""

TESTS = """
import pytest
from django_bgtasks import background
from django_bgtasks.models import Job

pytestmark = pytest.mark.django_db


@background
def double(n):
    if n > 3:
        double(n // 2)
    return 2 * n


@background
async def adouble(n):
    await Job.objects.aget()
    return 2 * n


def test_run(run_jobs):
    double(4)
    assert [result.return_value for result in run_jobs()] == [8, 4]


def test_run_async(run_jobs):
    adouble(1)
    assert [result.return_value for result in run_jobs()] == [2]


@pytest.mark.django_db(transaction=True)
def test_run_and_commit(run_jobs):
    double(4)
    assert len(run_jobs()) == 2


def test_capture(captured_jobs):
    double(1)
    captured_jobs.assert_enqueued(double.s(n=1), times=1)


def test_immediate(immediate_jobs):
    assert double(1).return_value == 2


def test_immediate_and_captured(immediate_jobs, captured_jobs):
    double(4)
    assert [job.args for job in captured_jobs] == [[4], [2]]


def test_none_of_them():
    assert not double(1).is_finished


def test_an_error_of_an_assertion(captured_jobs):
    double(1)
    captured_jobs.assert_enqueued(double.s(2))
"""


def test_fixtures(tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_it.py"]
    env = {name: value for name, value in os.environ.items() if "SETTINGS" not in name}
    env.pop("PYTEST_ADDOPTS", None)
    result = subprocess.run(
        command,
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env={**env, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    assert "1 failed, 7 passed" in result.stdout, result.stdout + result.stderr
    assert (
        "E       AssertionError: Expected once or more: test_it.double(2); found 0."
        in (result.stdout)
    )
    assert "E         test_it.double(1), queue='default'" in result.stdout
