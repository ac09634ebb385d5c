"""What a worker process sets for itself, and what it leaves to the project."""

import subprocess
import sys

import pytest

SCRIPT = """
import gc, sys
{before}
from django_bgtasks.worker.interpreter import tune_interpreter
tune_interpreter()
print(gc.get_threshold()[0], sys.getswitchinterval(), gc.get_freeze_count() > 1000)
"""

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "50000 0.001 True"),
        ("gc.set_threshold(123)", "123 0.001 True"),
        ("gc.set_threshold(0)", "0 0.001 True"),
        ("sys.setswitchinterval(0.02)", "50000 0.02 True"),
    ],
)
def test_what_the_project_has_set_is_left_alone(before, after):
    script = SCRIPT.format(before=before)
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == after
