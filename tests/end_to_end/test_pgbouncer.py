"""A real PgBouncer in transaction mode between the worker and PostgreSQL."""

import json
import os
import shutil
import signal
import socket
import subprocess

import pytest
from django.contrib.auth.models import User
from django.db import connection

from django_bgtasks.models import Job
from tests.end_to_end.test_processes import eventually
from tests.sample import tasks as sample
from tests.sample import vandals

pytestmark = pytest.mark.django_db(transaction=True)

SETTINGS = """
[databases]
* = host={host} port={port} user={user} {password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
"""


@pytest.fixture
def pgbouncer(tmp_path, only):
    """The port of a PgBouncer in front of the test's database."""
    only("postgresql")
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        if os.environ.get("REQUIRE_PGBOUNCER"):
            pytest.fail("REQUIRE_PGBOUNCER is set, but there is no pgbouncer")
        pytest.skip("needs pgbouncer")
    port = free_port()
    database = connection.settings_dict
    password = database["PASSWORD"]
    settings = tmp_path / "pgbouncer.ini"
    settings.write_text(
        SETTINGS.format(
            host=database["HOST"],
            port=database["PORT"],
            user=database["USER"],
            password=f"password={password}" if password else "",
            own_port=port,
        )
    )
    tmp_path.chmod(0o755)
    # It refuses to run as root.
    as_somebody = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen(
        [program, *as_somebody, settings],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    eventually(lambda: answers(port))
    yield port
    process.terminate()
    process.wait(10)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_a_worker_behind_it_polls(start, pgbouncer, tmp_path):
    log = tmp_path / "log"
    worker = start(
        "run_tasks",
        "--no-reload",
        POSTGRES_HOST="127.0.0.1",
        POSTGRES_PORT=str(pgbouncer),
    )
    worker.wait_for("started")
    for n in range(3):
        sample.leave_a_line(str(log), str(n))
        eventually(lambda n=n: Job.objects.successful().count() == n + 1)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE query ILIKE 'listen%%'"
            " AND datname = current_database()"
        )
        assert cursor.fetchone() == (0,), "on a connection that others get next"
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    assert log.read_text().split() == ["0", "1", "2"]


def test_tasks_behind_it_have_clean_connections(start, pgbouncer):
    """Whoever gets a server connection next must not be in another job's transaction."""
    sample.leave_a_transaction_open("lost")
    vandals.mistreat_connection("begin_by_hand", "lost, too")
    vandals.mistreat_connection("kill", None)
    for n in range(20):
        sample.write_a_user(f"kept {n}")
        vandals.awrite(f"kept async {n}")
    worker = start(
        "run_tasks",
        "--drain",
        settings={"IMPORTS": [vandals.__name__]},
        POSTGRES_HOST="127.0.0.1",
        POSTGRES_PORT=str(pgbouncer),
        BGTASKS_TEST_DATABASES=json.dumps(
            {"default": {"CONN_MAX_AGE": None, "DISABLE_SERVER_SIDE_CURSORS": True}}
        ),
    )
    assert worker.end() == 0
    assert Job.objects.exclude(status="SUCCESSFUL").count() == 1, worker.output
    assert User.objects.count() == 40
    assert not User.objects.filter(username__startswith="lost").exists()
