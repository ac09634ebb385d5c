"""Run the test suite on every database that answers.

    python tests/run.py                           SQLite, PostgreSQL and MariaDB
    python tests/run.py --db postgres -k claim    one of them; the rest is for pytest

Tests marked ``once`` run on the first database only. Environment:

    REQUIRE_DATABASES=1    a database that does not answer is a failure
    COVERAGE=1             measure branches, subprocesses too, over all databases; on
                           all but the first without tests marked ``slow`` (from
                           Python 3.12 on)
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAMES = {"sqlite": "SQLite", "postgres": "PostgreSQL", "mariadb": "MariaDB"}
#: pytest's exit status when no test was selected.
NO_TESTS = 5

# Asks the server, not for a database of its own: the tests create that. Without
# django.setup(), so that an error in the package is the tests' to report.
PROBE = """
from django.db import connection
try:
    with connection._nodb_cursor() as cursor:
        cursor.execute("SELECT 1")
except Exception as error:
    raise SystemExit(" ".join(str(error).split()))
"""


def main() -> int:
    options, pytest_args = parse_arguments()
    if flag("COVERAGE") and sys.version_info < (3, 12):
        # While an exception is on its way to a blocked thread, as at a time limit,
        # CPython 3.11 spins in every other thread that is traced.
        say("COVERAGE needs Python 3.12 or newer.")
        return 1
    answering, missing = probe(options.db or list(NAMES))
    if missing and flag("REQUIRE_DATABASES"):
        say("REQUIRE_DATABASES is set, but there is no " + listed(missing))
        return 1
    if flag("COVERAGE"):
        coverage("erase")
    failed = [
        database
        for database in answering
        if not suite_passes(database, pytest_args, first=database == answering[0])
    ]
    if missing:
        say("Skipped: " + listed(missing))
    if failed:
        say("Failed on " + ", ".join(NAMES[database] for database in failed))
    covered = not flag("COVERAGE") or enough_is_covered()
    return 0 if answering and covered and not failed else 1


def parse_arguments() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--db",
        action="append",
        choices=NAMES,
        help="a database to run on; may be repeated (default: all)",
    )
    return parser.parse_known_args()


def probe(databases: list[str]) -> tuple[list[str], dict[str, str]]:
    """The databases that answer, and why each of the others does not."""
    reasons = {database: unreachable(database) for database in databases}
    missing = {database: reason for database, reason in reasons.items() if reason}
    return [d for d in databases if d not in missing], missing


def unreachable(database: str) -> str:
    """Why ``database`` cannot be used, in one line; empty if it can."""
    if database == "sqlite":
        return ""
    try:
        result = subprocess.run(
            [sys.executable, "-c", PROBE],
            check=False,
            cwd=ROOT,
            env=environment(database),
            stderr=subprocess.PIPE,
            text=True,
            timeout=20,
        )
    except subprocess.TimeoutExpired:
        return "no answer within 20 seconds"
    if result.returncode == 0:
        return ""
    return result.stderr.strip().splitlines()[-1]


def suite_passes(database: str, pytest_args: list[str], *, first: bool) -> bool:
    say(f"== {NAMES[database]} ==")
    runner = ["coverage", "run", "-m", "pytest"] if flag("COVERAGE") else ["pytest"]
    if not any(arg.startswith(("-n", "--numprocesses")) for arg in pytest_args):
        # Many of them wait for processes: with three at a time, two cores are busy.
        # One by one, for conftest has put the long ones first.
        runner += ["--numprocesses", "3", "--maxschedchunk", "1"]
    selection = [] if first else ["-m", others()]
    status = subprocess.run(
        [sys.executable, "-m", *runner, *selection, *pytest_args],
        check=False,
        cwd=ROOT,
        env=environment(database),
    ).returncode
    return status == 0 or (status == NO_TESTS and not first)


def others() -> str:
    """Which tests run on all databases but the first."""
    # Their processes would cover nothing more, and are slow to trace.
    return "not once and not slow" if flag("COVERAGE") else "not once"


def enough_is_covered() -> bool:
    return coverage("combine") and coverage("report")


def coverage(verb: str) -> bool:
    command = [sys.executable, "-m", "coverage", verb]
    return subprocess.run(command, check=False, cwd=ROOT).returncode == 0


def environment(database: str) -> dict[str, str]:
    return {
        **os.environ,
        "BGTASKS_TEST_DB": database,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        # Absolute, so that processes started elsewhere leave their data here too.
        "COVERAGE_FILE": str(ROOT / ".coverage"),
    }


def flag(name: str) -> bool:
    return os.environ.get(name, "") not in {"", "0"}


def listed(missing: dict[str, str]) -> str:
    return "; ".join(f"{NAMES[name]} ({why})" for name, why in missing.items())


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
