"""The wheel: what is in it, what is not, and that it works on its own."""

import os
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.Path:
    folder = tmp_path_factory.mktemp("dist")
    # hatchling by itself: "python -m build" would fetch it for every test run.
    run("-m", "hatchling", "build", "--target", "wheel", "--directory", folder)
    (built,) = folder.glob("*.whl")
    return zipfile.Path(built)


@pytest.fixture(scope="module")
def names(wheel) -> set[str]:
    return set(wheel.root.namelist())


@pytest.fixture(scope="module")
def metadata(wheel, names) -> Message:
    (name,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr((wheel / name).read_text("utf-8"))


def test_every_file_of_the_package_is_inside(names):
    """Templates, static files, locale, migrations and py.typed among them."""
    package = ROOT / "django_bgtasks"
    files = {
        path.relative_to(ROOT).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {
        "django_bgtasks/py.typed",
        "django_bgtasks/migrations/0001_initial.py",
    } < files
    assert files <= names


def test_nothing_else_is_inside(names):
    assert {name.split("/")[0] for name in names} == {
        "django_bgtasks",
        folder_of(names),
    }


def test_metadata(metadata, names):
    assert metadata["Name"] == "django-bgtasks"
    assert metadata["License-Expression"] == "BSD-3-Clause AND MIT"
    licenses = {"LICENSE", "django_bgtasks/static/django_bgtasks/vendor/uplot/LICENSE"}
    assert set(metadata.get_all("License-File")) == licenses
    assert {f"{folder_of(names)}/licenses/{name}" for name in licenses} < names
    assert set(metadata.get_all("Provides-Extra")) == {
        "backport",
        "metrics",
        "mysql",
        "postgres",
    }


def test_it_works_without_the_checkout(wheel, tmp_path):
    wheel.root.extractall(tmp_path)
    site = {
        "INSTALLED_APPS": [
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django_bgtasks",
        ],
        "DATABASES": {
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(tmp_path / "db.sqlite3"),
            }
        },
    }
    code = f"""
import django
from django.conf import settings
from django.core.management import call_command

settings.configure(**{site!r})
django.setup()
call_command("migrate", verbosity=0)
call_command("run_tasks", "--drain")
print(__import__("django_bgtasks").__file__)
"""
    printed = run("-c", code, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert Path(printed.strip().splitlines()[-1]).is_relative_to(tmp_path)


def folder_of(names: set[str]) -> str:
    """The folder of the metadata."""
    return next(name for name in names if ".dist-info/" in name).split("/")[0]


def run(*arguments: object, cwd: Path = ROOT, **env: str) -> str:
    result = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        check=False,
        cwd=cwd,
        env={**os.environ, **env},
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
