"""Tasks for the tests. What they did is in ``calls``; ``gate`` lets them wait."""

import asyncio
import ctypes
import os
import signal
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from urllib.parse import urlencode

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.views.decorators.debug import sensitive_variables

from django_bgtasks import Cancel, Retry, Snooze, background, enqueue_many
from django_bgtasks.outcomes import TRACEBACK_LIMIT

calls = []
gate = threading.Event()
started = threading.Event()


def reset():
    calls.clear()
    gate.clear()
    started.clear()


@background
def add(a, b=0):
    calls.append((a, b))
    return a + b


@background
async def aadd(a, b=0):
    calls.append((a, b))
    return a + b


@background
def keep(*args, **kwargs):
    calls.append((args, kwargs))


@background
async def akeep(*args, **kwargs):
    calls.append((args, kwargs))


@background(takes_context=True)
def keep_context(context, value):
    calls.append(context)


@background
def echo(value):
    calls.append(value)
    return value


@background(atomic=True)
def echo_atomically(value):
    return value


@background(queue_name="mail", priority=10, max_attempts=5, timeout=30)
def send_mail(address, *, subject="Hello"):
    calls.append((address, subject))


@background(name="shop.renamed", max_attempts=1)
def named():
    calls.append("named")


@background
def fail(message="no"):
    calls.append(message)
    raise ValueError(message)


@background(backoff=[10, 20], max_attempts=3)
def fail_slowly():
    raise OSError("again")


@background(retry_on=OSError)
def fail_for_good():
    raise ValueError("not worth another try")


@background(no_retry_on=(KeyError,))
def fail_with(kind):
    raise {"key": KeyError, "index": IndexError}[kind]("kind")


@background(takes_context=True, backoff=0)
def succeed_at(context, attempt):
    calls.append(context.attempt)
    if context.attempt < attempt:
        raise ValueError(f"attempt {context.attempt}")
    return "done"


@background(takes_context=True)
def report(context, steps):
    for step in range(steps + 1):
        context.progress(step, steps, f"step {step}")
    calls.append(context.task_result.id)


@background(takes_context=True)
def report_and_wait(context):
    context.progress(1, 2, "<b>half</b>")
    started.set()
    gate.wait(60)
    context.progress(2, 2, "all of it")
    return "<i>done</i>"


@background(takes_context=True)
async def areport(context, steps):
    for step in range(steps + 1):
        await context.aprogress(step, steps)


@background
def retry_in_a_minute():
    raise Retry(delay=60)


@background
def retry_by_backoff():
    raise Retry


@background(retry_on=KeyError)
def retry_though_nothing_is_worth_it():
    raise Retry


@background
def snooze_for_a_minute():
    raise Snooze(60)


@background
def cancel_itself():
    raise Cancel("nothing to do")


@background
def exit_the_process():
    raise SystemExit(3)


@background
def return_no_json():
    return {"when": object()}


@background
def fail_with_strange_text():
    raise ValueError("NUL \x00 and a surrogate \ud800 " + "x" * 100_000)


@background
def wait_at_gate(name="one"):
    calls.append(name)
    started.set()
    gate.wait(30)
    return name


@background
async def await_gate():
    calls.append("waits")
    started.set()
    await sync_to_async(gate.wait)(30)


@background(timeout=5)
def run_for_ever():
    started.set()
    try:
        while not gate.wait(0.005):
            pass
    finally:
        calls.append("unwound")


@background(timeout=5)
async def await_for_ever():
    started.set()
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        calls.append("unwound")


def refuse_a_third(exception, task_result):
    calls.append((type(exception).__name__, task_result.attempts))
    return None if task_result.attempts > 1 else 5


@background(backoff=refuse_a_third, max_attempts=10)
def fail_by_callable():
    raise ValueError("no")


@background(backoff=lambda exception, task_result: 1 / 0)
def fail_with_broken_backoff():
    raise ValueError("no")


@background
def takes_priority(priority):
    calls.append(priority)


@background
def write_a_user(name):
    get_user_model().objects.create(username=name)


@background
def leave_a_line(path, text):
    """For tests with processes: shows that it ran, and in which order."""
    with Path(path).open("a") as file:
        file.write(f"{text}\n")


@background
def wait_for_file(path, line_to):
    """Says in ``line_to`` that it runs, then runs until ``path`` exists."""
    with Path(line_to).open("a") as file:
        file.write("running\n")
    pause = threading.Event()
    while not Path(path).exists():
        pause.wait(0.01)


@background
async def aexit(kind):
    raise {"exit": SystemExit, "interrupt": KeyboardInterrupt}[kind]("out")


@background
def return_too_much(kind):
    return {"integer": 10**5000, "text": "x" * 2_000_000}[kind]


@background
def snooze_for(seconds):
    raise Snooze(seconds)


@background
def leave_a_transaction_open(name):
    transaction.atomic().__enter__()
    get_user_model().objects.create(username=name)


@background(timeout=5)
def hide_the_interruption():
    """What a failing rollback does to the exception that caused it."""
    started.set()
    try:
        while not gate.wait(0.005):
            pass
    finally:
        raise ValueError("cannot roll back")


@background
async def await_a_thread():
    """Nothing can stop a thread of the event loop's own pool."""

    def block():
        print("in its thread", flush=True)  # noqa: T201 (for the test that started us)
        gate.wait(30)

    await asyncio.to_thread(block)


@background(max_attempts=2, backoff=0)
def end_the_process(how):
    """What takes the whole process along: a crash, or the kernel's OOM killer."""
    endings = {
        "exit": lambda: os._exit(3),
        "crash": lambda: ctypes.string_at(0),
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    }
    endings[how]()


@background(max_attempts=2, backoff=0)
def end_the_process_later(path):
    """The same, but only when ``path`` exists."""
    pause = threading.Event()
    while not Path(path).exists():
        pause.wait(0.01)
    os._exit(3)


@background(on_lost="fail")
def run_once_at_most(path):
    leave_a_line.call(path, "running")
    os._exit(3)


@background
def hold_the_gil(path, seconds):
    """Nothing else can run in the process meanwhile."""
    leave_a_line.call(path, "running")
    ctypes.PyDLL(None).sleep(seconds)


@background
def sleep(path, seconds):
    """An exception reaches the thread only when it has slept enough."""
    leave_a_line.call(path, "running")
    time.sleep(seconds)  # noqa: TID251 (it is what the test is about)


@background(timeout=5)
def wait_in_the_database(in_transaction):
    guard = transaction.atomic() if in_transaction else nullcontext()
    try:
        with guard, connection.cursor() as cursor:
            started.set()
            cursor.execute(LONG_QUERIES[connection.vendor])
            # Where to be cancelled is no error (MySQL's SLEEP).
            while not gate.wait(0.005):
                pass
    finally:
        calls.append("unwound")


LONG_QUERIES = {
    "postgresql": "SELECT pg_sleep(60)",
    "mysql": "SELECT SLEEP(60)",
    "sqlite": """
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
        SELECT count(*) FROM n WHERE i < 0
    """,
}


@background(takes_context=True)
def stop_when_cancelled(context, heeds=True):
    started.set()
    while not (context.cancelled and heeds):
        gate.wait(0.005)
    return "stopped by itself"


@background(atomic=True, takes_context=True)
def write_a_user_until_cancelled(context, name):
    get_user_model().objects.create(username=name)
    while not context.cancelled:
        started.set()
        gate.wait(0.005)


@background(atomic=True, backoff=0)
def write_a_user_once(name, then="return"):
    get_user_model().objects.create(username=name)
    started.set()
    if then == "wait":
        gate.wait(30)
    if then == "fail":
        raise ValueError(then)
    if then == "fail after the commit":
        transaction.on_commit(lambda: 1 / 0)
    return name


@background(sensitive=("password", "card"), max_attempts=2, backoff=0)
def pay(user, password, *, how, card=None):
    """Fails in the ways in which errors come to hold what they should not."""
    endings = {
        "message": lambda: f"{user} has no {password}",
        "repr": lambda: f"{user} has no {[password, card]!r}",
        "url": lambda: f"no answer from https://bank/?{urlencode({'key': password})}",
        "taken apart": lambda: f"{user} has no {card.pop('number')}",
        "long": lambda: "x" * (TRACEBACK_LIMIT // 2 - 200) + password * 50,
    }
    try:
        int(endings[how]())
    except ValueError as error:
        error.add_note(f"tried {password}")
        raise RuntimeError("not paid") from error


@background(sensitive="password", max_attempts=1)
async def apay(password):
    raise ExceptionGroup("not paid", [ValueError(f"no\n{password}")])


@background(sensitive="password", timeout=5)
def pay_for_ever(password):
    started.set()
    try:
        while not gate.wait(0.005):
            pass
    except BaseException as interruption:
        interruption.add_note(f"with {password}")
        raise


@background(sensitive="password")
def pay_unless_cancelled(password):
    raise Cancel(f"{password} was used up")


@background(sensitive="password", takes_context=True)
def pay_step_by_step(context, password):
    context.progress(1, 2, f"with {password}")
    return {"paid with": [password]}


def refuse_loudly(exception, task_result):
    raise LookupError(f"no delay after {exception}")


@background(sensitive="password", backoff=refuse_loudly)
def pay_with_broken_backoff(password):
    raise ValueError(password)


@background(sensitive="password", atomic=True)
def pay_at_once(password):
    transaction.on_commit(lambda: int(password))


@background
@sensitive_variables("password", "local")
def change_password(user, password):
    local = f"{user} has no {password}"
    raise ValueError(local)


@background
@sensitive_variables()
async def achange_password(user, password):
    raise ValueError(f"{user} has no {password}")


@background(takes_context=True)
def leave_its_tick(context, path):
    """Appends the tick that it is for to a file."""
    with Path(path).open("a") as file:
        file.write(f"{context.scheduled_for}\n")


@background(takes_context=True)
async def aleave_its_tick(context, path):
    """The same without a thread."""
    with Path(path).open("a") as file:
        file.write(f"{context.scheduled_for}\n")


@background
def take_anything(*args, **kwargs):
    calls.append((args, kwargs))


@background(unique=True, on_conflict="raise")
def once_only():
    calls.append("once")


@background(takes_context=True, timeout=60, max_attempts=7)
def look_around(context, *args):
    calls.append(
        {
            "job_id": context.job_id,
            "attempt": context.attempt,
            "max_attempts": context.max_attempts,
            "deadline": context.deadline,
            "scheduled_for": context.scheduled_for,
            "cancelled": context.cancelled,
            "metadata": context.metadata,
        }
    )
    context.logger.info("seen %s", args, extra={"more": 1})


@background(takes_context=True)
def take_notes(context, **notes):
    context.update_metadata(**notes)
    calls.append(context.metadata)


@background(takes_context=True)
async def atake_notes(context, **notes):
    await context.aupdate_metadata(**notes)
    calls.append(context.metadata)


@background(takes_context=True)
def follow_up(context, count):
    for number in range(count):
        context.enqueue(add.s(number))
    enqueue_many((context.tie(add.s(n)) for n in range(count)), results=False)


@background(takes_context=True)
async def afollow_up(context):
    await context.aenqueue(add.s(1))


@background
def count_down(n):
    """Enqueues itself until it is done."""
    calls.append(n)
    if n:
        count_down(n - 1)


@background
def add_after_commit(a):
    transaction.on_commit(lambda: add(a))


@background
def write_users(*names):
    """One by one, each by itself: the name of one that is there already is an error."""
    for name in names:
        get_user_model().objects.create(username=name)


@background
def write_a_user_durably(name):
    with transaction.atomic(durable=True):
        get_user_model().objects.create(username=name)


@background
async def awrite_a_user(name):
    await get_user_model().objects.acreate(username=name)
    await add.aenqueue(name, name)


@background
def fail_in_the_database():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM nowhere")


@background
def hand_on_to_fail(message):
    fail(message)


@background
def take_a_name(a, /, **more):
    calls.append((a, more))


@background(takes_context=True)
async def aread_notes(context):
    calls.append((context.metadata, context.task_result.metadata))


@background(atomic=True, store_result=False)
def fail_after_commit():
    transaction.on_commit(lambda: 1 / 0)
