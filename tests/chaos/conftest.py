"""One session of the suite: its disk, its server, its storms, and its figures.

On PostgreSQL it has a server of its own, on SQLite a disk of its own: both are going
to be maltreated.
"""

import os
import random

import pytest
from django.db import connection

from tests.chaos import witness
from tests.chaos.cluster import Cluster, programs
from tests.chaos.disk import Disk
from tests.chaos.size import LONG, SEED, size
from tests.chaos.storm import Storm, figures


def pytest_report_header():
    return f"chaos: {'long' if LONG else 'short'} form, CHAOS_SEED={SEED}"


def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.timeout(size(120, 7200)), append=True)


def pytest_sessionfinish(session):
    # One of several processes: the first of them adds it all up.
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["figures"] = dict(figures)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    figures.update(getattr(node, "workeroutput", {}).get("figures", {}))


def pytest_terminal_summary(terminalreporter):
    terminalreporter.section(f"chaos, CHAOS_SEED={SEED}")
    for what, number in figures.items():
        terminalreporter.write_line(f"{number:>9,} {what}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Let a failure show what the hosts have said of themselves."""
    report = yield
    storm = item.funcargs.get("storm")
    if report.failed and call.when == "call" and storm is not None:
        lines = [line for host in storm.hosts for line in host.lines_about_itself()]
        report.sections.append(("what the hosts said of themselves", "\n".join(lines)))
    return report


def missing(what):
    """There is no ``what`` here: of no concern to a user, but to CI."""
    if os.environ.get("REQUIRE_CHAOS"):
        pytest.fail(f"REQUIRE_CHAOS is set, but there is no {what}")
    pytest.skip(f"needs {what}")


@pytest.fixture(scope="session")
def any_disk():
    disk = Disk()
    yield disk
    disk.remove()


@pytest.fixture(scope="session")
def any_cluster(any_disk):
    """A PostgreSQL server of our own; None without its programs."""
    if programs() is None or connection.vendor != "postgresql":
        yield None
        return
    cluster = Cluster(any_disk.path)
    cluster.start()
    yield cluster
    cluster.stop("immediate")


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    any_disk, any_cluster, django_db_modify_db_settings_parallel_suffix
):
    """Put the test database on them."""
    settings = connection.settings_dict
    if connection.vendor == "sqlite":
        settings["TEST"]["NAME"] = str(any_disk.path / "chaos.sqlite3")
    if any_cluster is None:
        yield
        return
    place = {"HOST": "127.0.0.1", "PORT": str(any_cluster.port)}
    settings.update(place, USER="postgres", PASSWORD="")
    with pytest.MonkeyPatch.context() as monkeypatch:
        # For the processes that are started.
        for name, value in place.items():
            monkeypatch.setenv(f"POSTGRES_{name}", value)
        yield


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock():
        witness.call()


@pytest.fixture
def cluster(any_cluster):
    """The server, for tests of PostgreSQL that cannot do without it."""
    if connection.vendor != "postgresql":
        pytest.skip("stops and starts a PostgreSQL server")
    if any_cluster is None:
        missing("PostgreSQL server of our own (initdb, pg_ctl)")
    yield any_cluster
    any_cluster.start_if_it_is_down()
    connection.close()


@pytest.fixture
def disk(any_disk):
    """The disk that the database is on, for tests that fill it."""
    if connection.vendor == "mysql":
        pytest.skip("the disk of the server is not ours")
    if not any_disk.is_small:
        missing("permission to mount a small disk")
    yield any_disk
    any_disk.free()


@pytest.fixture
def chance(request):
    """Makes all choices of a test, the same ones with the same seed."""
    return random.Random(f"{SEED} {request.node.name}")  # noqa: S311 (hides nothing)


@pytest.fixture
def storm(transactional_db, tmp_path, chance):
    storm = Storm(tmp_path, chance)
    yield storm
    storm.clear_away()
