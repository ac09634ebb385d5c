"""How a worker on SQLite learns that somebody has written to the file."""

import os
import sqlite3
import sys
import time
from contextlib import closing
from select import select

import pytest
from django.db.utils import ConnectionHandler

from django_bgtasks.store.engines import sqlite
from django_bgtasks.store.engines.file_watch import CannotWatch, FileWatch
from django_bgtasks.worker.ears import Ears

pytestmark = [
    pytest.mark.once,
    pytest.mark.django_db,
    pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's"),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "queue.sqlite3"


def connect(path):
    """Django's connection."""
    engine = "django.db.backends.sqlite3"
    return closing(
        ConnectionHandler({"default": {"ENGINE": engine, "NAME": path}})["default"]
    )


@pytest.fixture
def wrapper(path):
    """To the file, which is in WAL mode, as a worker leaves it."""
    with connect(path) as wrapper:
        sqlite.SQLiteEngine(wrapper).prepare()
        wrapper.connection.execute("CREATE TABLE t (x)")
        yield wrapper


@pytest.fixture
def listener(wrapper):
    listener = sqlite.FileListener(wrapper)
    yield listener
    listener.close()


@pytest.fixture
def other(path, wrapper):
    """Somebody else's connection, in no transaction unless it says so."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        yield other


def is_readable(listener, seconds=10):
    return bool(select([listener.fileno], [], [], seconds)[0])


def test_a_write_ends_the_wait(listener, other):
    assert not is_readable(listener, 0)
    other.execute("INSERT INTO t VALUES (1)")
    assert is_readable(listener)
    assert listener.heard() == {""}
    assert not is_readable(listener, 0)
    assert listener.heard() is None


def test_one_that_reads_ends_nothing(listener, other):
    other.execute("SELECT * FROM t").fetchall()
    assert not is_readable(listener, 0)


def test_what_is_written_is_looked_for_until_it_is_committed(listener, other):
    """The kernel tells of the bytes, and nobody of the commit after them."""
    assert listener.interval == sqlite.LONGEST_LOOK_IF_TOLD
    other.execute("PRAGMA cache_size = 1")
    other.execute("BEGIN IMMEDIATE")
    # More than it keeps in memory, so that some of it goes to the log at once.
    other.executemany("INSERT INTO t VALUES (?)", [("x" * 1000,)] * 1000)
    assert is_readable(listener)
    assert listener.heard() is None
    assert listener.interval == sqlite.SHORTEST_LOOK
    intervals = []
    while listener.interval < sqlite.LONGEST_LOOK_IF_TOLD:
        assert listener.heard() is None
        intervals.append(listener.interval)
    assert intervals == sorted(intervals)
    assert sum(intervals) > sqlite.LONGEST_LOOK_IF_TOLD
    other.execute("COMMIT")
    assert listener.heard() == {""}
    # Of two who wrote at the same time, one may have been seen, and the other not yet.
    assert listener.interval == sqlite.SHORTEST_LOOK


def test_without_a_log_it_is_asked_often(path, wrapper):
    wrapper.connection.execute("PRAGMA journal_mode = DELETE")
    listener = sqlite.FileListener(wrapper)
    assert listener.fileno is None
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("INSERT INTO t VALUES (1)")
    assert listener.heard() == {""}
    for _ in range(10):
        assert listener.heard() is None
    assert listener.interval == sqlite.LONGEST_LOOK


def test_a_file_in_memory_is_asked():
    with connect(":memory:") as wrapper:
        wrapper.ensure_connection()
        # Django would leave it open, for with it goes what is in memory.
        with closing(wrapper.connection):
            assert sqlite.FileListener(wrapper).fileno is None


def test_a_loop_that_listens_is_woken_by_a_write(wrapper, other, monkeypatch):
    """Not by the end of the interval, which is made too long for that here."""
    ears = Ears()
    with ears:
        ears.open(sqlite.SQLiteEngine(wrapper))
        listener = ears._listener
        listener._longest = listener.interval = 60
        hear = listener.heard

        def heard_before_the_write():
            heard = hear()
            monkeypatch.undo()
            other.execute("INSERT INTO t VALUES (1)")
            listener.interval = 60
            return heard

        monkeypatch.setattr(listener, "heard", heard_before_the_write)
        began = time.monotonic()
        ears.listen(20)
        assert ears.take_call() == set()
        assert time.monotonic() - began < 10


def test_a_new_connection_leaves_no_watch_behind(wrapper):
    ears, engine = Ears(), sqlite.SQLiteEngine(wrapper)
    with ears:
        ears.open(engine)
        first = ears._listener
        ears.open(engine)
        assert first._watch is None
        second = ears._listener
        os.fstat(second.fileno)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(second.fileno)


def test_what_is_not_there_cannot_be_watched(tmp_path):
    with pytest.raises(CannotWatch, match="nothing"):
        FileWatch(str(tmp_path / "nothing"))
