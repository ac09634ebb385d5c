"""Tasks that leave things in a state in which nobody should find them.

Not in ``tasks``, so that only the tests that name it in ``IMPORTS`` have them.
"""

import asyncio
import contextlib
import contextvars
import ctypes
import decimal
import locale
import os
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path

from asgiref.local import Local
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth import get_user_model
from django.db import DatabaseError, connection, connections, transaction
from django.utils import timezone, translation

from django_bgtasks import background
from tests.sample.tasks import calls, gate, started

User = get_user_model()

variable = contextvars.ContextVar("variable", default="nobody's")
local = Local()
#: What tasks do not let go of.
kept = []


# -- connections -------------------------------------------------------------------


@background
def note_connection(alias="default"):
    """Which one this is, as the server calls it, and whether it can be used."""
    wrapper = connections[alias]
    get_user_model().objects.using(alias).count()
    calls.append((threading.get_ident(), id(wrapper.connection), server_id(wrapper)))


def server_id(wrapper):
    """The number of its session, which no other has meanwhile."""
    sql = {
        "postgresql": "SELECT pg_backend_pid()",
        "mysql": "SELECT CONNECTION_ID()",
        "sqlite": "SELECT 0",
    }
    with wrapper.cursor() as cursor:
        cursor.execute(sql[wrapper.vendor])
        return cursor.fetchone()[0]


def leave_atomic_open():
    transaction.atomic().__enter__()


def begin_by_hand():
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")


def switch_autocommit_off():
    transaction.set_autocommit(False)


def switch_autocommit_off_by_hand():
    connection.ensure_connection()
    connection.connection.autocommit = False


def close():
    connection.close()


def close_within_atomic():
    with transaction.atomic():
        connection.close()


def close_the_drivers():
    connection.ensure_connection()
    connection.connection.close()


def close_the_drivers_within_atomic():
    with transaction.atomic():
        connection.connection.close()


def close_the_drivers_under_atomic_left_open():
    transaction.atomic().__enter__()
    connection.connection.close()


def kill():
    """As an administrator would, or the server when it is restarted."""
    sql = {
        "postgresql": "SELECT pg_terminate_backend(pg_backend_pid())",
        "mysql": "KILL CONNECTION_ID()",
    }
    with connection.cursor() as cursor:
        cursor.execute(sql[connection.vendor])


def kill_and_hide_it():
    with contextlib.suppress(DatabaseError):
        kill()


def kill_within_atomic():
    with transaction.atomic():
        kill()


def leave_a_cursor_open():
    cursor = connection.cursor()
    cursor.execute("SELECT 1 UNION SELECT 2")
    kept.append(cursor)


def leave_an_iterator_open():
    User.objects.bulk_create(User(username=f"of many {n}") for n in range(10))
    rows = User.objects.iterator(chunk_size=2)
    next(rows)
    kept.append(rows)


def leave_an_error_in_a_transaction():
    transaction.set_autocommit(False)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM no_such_table")
    except DatabaseError:
        pass


def forget_the_wrapper():
    connection.ensure_connection()
    kept.append(connections["default"])
    del connections["default"]


@background(max_attempts=1)
def mistreat_connection(how, name):
    """Write a row, in whatever state that leaves things."""
    globals()[how]()
    if name is not None:
        User.objects.create(username=name)


def leave_on_commit():
    transaction.on_commit(lambda: calls.append("at once"))


@background
def leave_atomic_open_on(alias):
    transaction.atomic(using=alias).__enter__()
    with connections[alias].cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS t (n integer)")
        cursor.execute("INSERT INTO t VALUES (1)")


@background
def write_on(alias):
    with connections[alias].cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS t (n integer)")
        cursor.execute("INSERT INTO t VALUES (1)")
        cursor.execute("SELECT count(*) FROM t")
        return cursor.fetchone()[0]


@background(max_attempts=1)
async def change_sides(name):
    """Async code that calls blocking code that calls async code, and so on."""

    async def within():
        await User.objects.acreate(username=name)
        return await sync_to_async(threading.get_ident)()

    def between():
        return threading.get_ident(), async_to_sync(within)()

    outer, inner = await sync_to_async(between)()
    assert outer == inner
    await User.objects.aget(username=name)


@background
def write_from_where(name):
    """Which process, which session, and whether it is one of a pool."""
    User.objects.create(username=name)
    return os.getpid(), server_id(connection), connection.pool is not None


@background
def set_session(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)


@background
async def awrite(name):
    await User.objects.acreate(username=name)
    calls.append(await sync_to_async(threading.get_ident)())


@background(max_attempts=1)
async def read_slowly():
    """Stops in the middle of a query for another job to end."""
    names = []
    async for user in User.objects.order_by("pk").aiterator(chunk_size=2):
        names.append(user.username)
        if len(names) == 3:
            started.set()
            while not gate.is_set():
                await asyncio.sleep(0.005)  # a thread's event cannot be awaited
    return names


@background(max_attempts=1)
async def amistreat_connection(how, name):
    await sync_to_async(globals()[how])()
    await User.objects.acreate(username=name)


@background(timeout=5, max_attempts=1)
async def await_blocking_code():
    def block():
        started.set()
        try:
            while not gate.wait(0.005):
                pass
        finally:
            calls.append("unwound")

    await sync_to_async(block)()


@background(max_attempts=1)
async def leave_a_task_running():
    """It uses the database when its job is over."""

    async def linger():
        await asyncio.sleep(0)  # lets the job end first
        while not gate.is_set():
            await asyncio.sleep(0.005)  # a thread's event cannot be awaited
        try:
            await User.objects.acount()
        except RuntimeError as error:
            calls.append(str(error))
        started.set()

    kept.append(asyncio.ensure_future(linger()))


# -- errors ------------------------------------------------------------------------


class Mute(Exception):
    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


class Own(BaseException):
    pass


class Lying(Exception):
    @property
    def __class__(self):
        raise ValueError("no class")


class Recursive(Exception):
    def __str__(self):
        return str(self)


class NoNotes(Exception):
    @property
    def __notes__(self):
        raise ValueError("no notes")


class Final(Exception):
    @property
    def __notes__(self):
        raise SystemExit("no notes, and no thread")


def recurse(depth=0):
    return recurse(depth + 1)


def name_at_length():
    return type("E" * 300_000, (Exception,), {})


def broken_syntax_error():
    """Such as parsers make that do not know what Python expects of it."""
    return SyntaxError("m", ("file", 1, "offset", "text", object(), object()))


ERRORS = {
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
    "Own": Own,
    "Mute": Mute,
    "Lying": Lying,
    "Recursive": Recursive,
    "NoNotes": NoNotes,
    "Final": Final,
    "EEEE": lambda: name_at_length()("no"),
    "SyntaxError": broken_syntax_error,
    "StopIteration": StopIteration,
    "RecursionError": recurse,
    "ExceptionGroup": lambda: ExceptionGroup("all", [Mute()] * 1000),
}


@background(max_attempts=1)
def fail_as(kind):
    raise ERRORS[kind]()


@background(max_attempts=1)
async def afail_as(kind):
    await asyncio.sleep(0)  # once through the event loop
    raise ERRORS[kind]()


class Treacherous(Mapping):
    def __getitem__(self, key):
        raise LookupError(key)

    def __iter__(self):
        raise OSError("cannot be read")

    def __len__(self):
        return 1


def endless():
    items = []
    items.append(items)
    return items


VALUES = {
    "treacherous": Treacherous,
    "endless": endless,
    "a range": lambda: range(10**12),
    "a generator": lambda: (n for n in range(3)),
    "bytes": lambda: b"\xff",
    "an instance": lambda: User(username="ada"),
    "many": lambda: ["x" * 1000] * 2000,
}


@background
def return_a_value(kind):
    calls.append(kind)
    return VALUES[kind]()


# -- the context -------------------------------------------------------------------


@background
def change_its_context():
    timezone.activate("Asia/Tokyo")
    translation.activate("de")
    variable.set("the vandal's")
    local.name = "the vandal's"
    decimal.getcontext().prec = 3
    calls.append(its_context())


@background
def note_its_context():
    calls.append(its_context())


@background
async def achange_its_context():
    change_its_context.call()
    await sync_to_async(change_its_context.call)()


@background
async def anote_its_context():
    calls.append(its_context())
    calls.append(await sync_to_async(its_context)())


def its_context():
    return (
        timezone.get_current_timezone_name(),
        translation.get_language(),
        variable.get(),
        getattr(local, "name", "nobody's"),
        decimal.getcontext().prec,
    )


# -- the process -------------------------------------------------------------------


def close_stdout():
    sys.stdout.close()


def close_stderr():
    with sys.stderr:
        pass


def close_descriptors():
    os.close(1)
    os.close(2)


def detach_stderr():
    sys.stderr.detach()


def set_handlers():
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])


def ignore_sigterm_in_c():
    ctypes.CDLL(None).signal(signal.SIGTERM, ctypes.c_void_p(1))


def change_directory():
    os.chdir(tempfile.mkdtemp())


def change_time_zone():
    os.environ["TZ"] = "Pacific/Kiritimati"
    time.tzset()


def change_locale():
    for name in ("de_DE.UTF-8", "C.UTF-8", "C"):
        try:
            locale.setlocale(locale.LC_ALL, name)
        except locale.Error:
            continue
        return


def filter_warnings():
    warnings.simplefilter("error")


def lift_the_recursion_limit():
    sys.setrecursionlimit(1_000_000)


def lower_the_recursion_limit():
    sys.setrecursionlimit(80)


def leave_a_thread():
    # By default, they are daemons, as the worker's threads are.
    threading.Thread(
        target=threading.Event().wait, name="left behind", daemon=False
    ).start()


def print_much():
    for _ in range(2000):
        print("x" * 1000)  # noqa: T201 (it is what the test is about)


def exhaust_the_stack():
    with contextlib.suppress(RecursionError):
        recurse()


@background(max_attempts=1)
def vandalise(how):
    globals()[how]()


@background(backoff=0, max_attempts=50)
def leave_a_line_and_a_row(path, text):
    User.objects.create(username=text)
    with Path(path).open("a") as file:
        file.write(f"{text}\n")
