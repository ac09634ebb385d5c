"""Start-up, each time in a fresh interpreter."""

import os
import subprocess
import sys
from pathlib import Path

import django
import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = """
import sys
from django.conf import settings
settings.configure(
    INSTALLED_APPS={apps!r},
    BGTASKS={bgtasks!r},
    DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}},
)
{before}
import django
django.setup()
from django_bgtasks.tasks import registered_tasks
paths = {{task.path for task in registered_tasks()}}
print(sorted(path for path in paths if not path.startswith("django_bgtasks.")))
{after}
"""


@pytest.fixture
def run(tmp_path):
    """Set Django up with an app ``shop`` made of files, and return what it says."""

    def run(files, apps=("shop", "django_bgtasks"), bgtasks=None, before="", after=""):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        script = SCRIPT.format(
            apps=list(apps), bgtasks=bgtasks or {}, before=before, after=after
        )
        return subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


TASK = "from django_bgtasks import background\n@background\ndef ship(): pass\n"


def test_tasks_modules_of_all_apps_are_imported(run):
    done = run({"shop/__init__.py": "", "shop/tasks.py": TASK})
    assert done.stdout == "['shop.tasks.ship']\n", done.stderr


def test_also_of_apps_that_are_named_by_their_config(run):
    config = "from django.apps import AppConfig\nclass C(AppConfig): name = 'shop'\n"
    files = {"shop/__init__.py": "", "shop/tasks.py": TASK, "shop/apps.py": config}
    done = run(files, apps=["django_bgtasks", "shop.apps.C"])
    assert done.stdout == "['shop.tasks.ship']\n", done.stderr


def test_an_app_without_tasks_is_fine(run):
    assert run({"shop/__init__.py": ""}).stdout == "[]\n"


@pytest.mark.parametrize("place", ["shop/tasks.py", "shop/mail.py"])
def test_an_error_inside_a_tasks_module_is_raised(run, place):
    imports = {"shop/tasks.py": "from shop import mail\n", "shop/mail.py": ""}
    done = run({"shop/__init__.py": "", **imports, place: "import no_such_module\n"})
    assert done.returncode == 1
    assert "No module named 'no_such_module'" in done.stderr


def test_other_modules_are_imported_when_listed(run):
    files = {"shop/__init__.py": "", "shop/jobs.py": TASK}
    assert run(files).stdout == "[]\n"
    done = run(files, bgtasks={"IMPORTS": ["shop.jobs"]})
    assert done.stdout == "['shop.jobs.ship']\n", done.stderr


def test_a_wrong_setting_stops_the_start(run):
    done = run({"shop/__init__.py": ""}, bgtasks={"THREDS": 1})
    assert done.returncode == 1
    assert "BGTASKS has no key 'THREDS'. Did you mean 'THREADS'?" in done.stderr


def test_tasks_may_be_declared_before_apps_are_ready(run):
    models = "import shop.tasks\n"
    files = {"shop/__init__.py": "", "shop/tasks.py": TASK, "shop/models.py": models}
    assert run(files).stdout == "['shop.tasks.ship']\n"


def test_it_works_with_nothing_but_the_app_and_its_tables(run):
    done = run(
        {"shop/__init__.py": "", "shop/tasks.py": TASK},
        after="""
from django.core.management import call_command
call_command("migrate", verbosity=0)
from shop.tasks import ship
result = ship()
call_command("run_tasks", drain=True, verbosity=0, threads=1)
from django_bgtasks.models import Job
print(Job.objects.get().status)
""",
    )
    # The worker's threads have memory databases of their own; the loop's is ours.
    assert done.stdout.splitlines()[-1] == "SUCCESSFUL", done.stderr


def test_our_own_jobs_are_on_a_queue_that_there_is(run):
    backend = "django_bgtasks.backend.DatabaseBackend"
    tasks = {"default": {"BACKEND": backend, "QUEUES": ["mail", "low"]}}
    after = """
from django_bgtasks.tasks import find_task
print(find_task("django_bgtasks.prune").queue_name)
"""
    done = run({}, ["django_bgtasks"], before=f"settings.TASKS = {tasks}", after=after)
    assert done.stdout.split("\n")[1] == "low", done.stderr


@pytest.mark.skipif(django.VERSION >= (6, 0), reason="Django has the framework")
def test_the_backport_may_call_its_errors_as_django_does(run):
    before = """
from django_tasks import task_backends, exceptions
from django_tasks.backends import base, immediate
exceptions.InvalidTask = exceptions.__dict__.pop("InvalidTaskError", None)
"""
    after = "from django_bgtasks._framework import InvalidTask; print(InvalidTask)"
    done = run({"shop/__init__.py": ""}, before=before, after=after)
    assert "django_tasks.exceptions.InvalidTask" in done.stdout, done.stderr


def test_without_the_framework_the_fix_is_named(run):
    if django.VERSION >= (6, 0):
        before = "import django; django.VERSION = (5, 2, 0, 'final', 0)\n"
    else:
        before = ""
    before += "sys.modules['django_tasks'] = None"
    done = run({"shop/__init__.py": ""}, before=before)
    assert done.returncode == 1
    assert "pip install 'django-bgtasks[backport]'" in done.stderr


ASK_FOR_STATUS = """
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "task_status"])
"""


def test_a_command_without_our_tables_says_what_to_do(run):
    done = run({"shop/__init__.py": ""}, after=ASK_FOR_STATUS)
    assert done.returncode == 1
    assert "manage.py migrate django_bgtasks\n" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_raises_other_errors_of_the_database_as_they_are(run):
    spoil = """
from django.core.management import call_command
from django.db import connection
call_command("migrate", verbosity=0)
connection.cursor().execute("DROP TABLE django_bgtasks_job")
"""
    done = run({"shop/__init__.py": ""}, after=spoil + ASK_FOR_STATUS)
    assert "OperationalError: no such table: django_bgtasks_job" in done.stderr
