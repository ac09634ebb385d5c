"""Rows for tests, made directly, and other hands that make them."""

import uuid
from contextlib import contextmanager
from threading import Thread

from django.db import connection, connections
from django.utils import timezone

from django_bgtasks.models import Job, Worker


def make_job(**columns):
    return Job.objects.create(**_with_defaults(columns))


def make_jobs(count, args_of=lambda n: [], queue_of=lambda n: "default", **columns):
    return Job.objects.bulk_create(
        [
            Job(**_with_defaults({"args": args_of(n), "queue": queue_of(n), **columns}))
            for n in range(count)
        ],
        batch_size=500,
    )


def make_running(worker=None, **columns):
    columns = {"status": "RUNNING", "attempt": 1, "run_token": 1, **columns}
    worker = worker or uuid.uuid4()
    return make_job(
        worker=worker, last_worker=worker, started_at=timezone.now(), **columns
    )


def make_finished(status, finished_at, **columns):
    columns = {"attempt": 1, **columns}
    return make_job(status=status, finished_at=finished_at, **columns)


def living_worker(**columns):
    now = timezone.now()
    return Worker.objects.create(
        **{
            "hostname": "box",
            "pid": 7,
            "threads": 4,
            "started_at": now,
            "heartbeat_at": now,
            **columns,
        }
    )


@contextmanager
def another_alias(alias):
    """The same database once more, on connections of its own.

    To be there before a test begins, for Django lets that connect only to what it knew
    of before.
    """
    connections.settings[alias] = connections["default"].settings_dict
    yield
    connections[alias].close()
    del connections[alias], connections.settings[alias]


@contextmanager
def held(row):
    """Somebody else's transaction has a lock on the row."""
    table, key = row._meta.db_table, row._meta.pk.column
    other = connections.create_connection("default")
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute(
                f"SELECT {key} FROM {table} WHERE {key} = %s FOR UPDATE",  # noqa: S608 (our own tables)
                [row.pk.hex if isinstance(row.pk, uuid.UUID) else row.pk],
            )
        yield
        other.rollback()
    finally:
        other.close()


def in_thread(target):
    """Start ``target`` in a thread, as if it were a process of its own."""

    def run():
        try:
            target()
        finally:
            connection.close()

    thread = Thread(target=run)
    thread.start()
    return thread


def _with_defaults(columns):
    return {
        "task": "tests.sample.tasks.add",
        "queue": "default",
        "status": "READY",
        "backend": "default",
        "max_attempts": 3,
        "enqueued_at": timezone.now(),
        **columns,
    }
