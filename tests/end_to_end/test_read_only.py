"""A failover: for a while, the server that answers can only be read."""

import signal
from contextlib import contextmanager

import pytest
from django.db import connection

from django_bgtasks.models import Job
from tests.end_to_end.test_processes import eventually
from tests.end_to_end.test_rescue import HURRIED, lines
from tests.sample import tasks as sample

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@contextmanager
def read_only():
    """All connections but this one can only read."""
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        try:
            cut_others_off(cursor)
            yield
        finally:
            cursor.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
            cut_others_off(cursor)


def cut_others_off(cursor):
    cursor.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


def test_workers_wait_until_they_can_write_again(start, tmp_path, only):
    only("postgresql")
    gate, log = tmp_path / "gate", tmp_path / "log"
    running = sample.wait_for_file(str(gate), str(log))
    # Others would have to be silent for longer than this.
    worker = start("run_tasks", settings={**HURRIED, "HEARTBEAT_TIMEOUT": 30})
    eventually(lambda: lines(log) == ["running"])
    with read_only():
        sample.leave_a_line(str(log), "later")
        worker.wait_for("The database is in trouble")
        gate.touch()
    eventually(lambda: Job.objects.successful().count() == 2)
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    assert Job.objects.get(pk=running.id).attempt == 1
    assert lines(log) == ["running", "later"]
    for text in ("is in trouble", "answers again"):
        assert len([line for line in worker.lines if text in line]) == 1
