"""What task bodies leave behind: a line when they begin, and one when they end.

In a file and not in the database under test, and in one write each: a line that was
written outlives its process, however that ends.
"""

import json
import os
import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar

from django_bgtasks.exceptions import Interrupt

#: The environment variable that holds the path of the file.
VARIABLE = "CHAOS_AUDIT"

_job = ContextVar("the job whose body runs here")


def remember(*, job, **kwargs):
    """Receives ``job_started``, which comes in the context that the body gets."""
    _job.set(job)


@contextmanager
def body():
    """Around the whole body of a task; gives the job as it was claimed."""
    job = _job.get()
    facts = {
        "job": str(job.pk),
        "token": job.run_token,
        "attempt": job.attempt,
        "worker": str(job.worker),
        "task": job.task.rpartition(".")[2],
    }
    write(os.environ[VARIABLE], event="began", **facts)
    how = "returned"
    try:
        yield job
    except BaseException as error:
        how = type(error).__name__
        raise
    finally:
        try:
            write(os.environ[VARIABLE], event="ended", how=how, **facts)
        except Interrupt:
            # It came for the body, just too late.
            write(os.environ[VARIABLE], event="ended", how=how, **facts)
            raise


def write(path, **facts):
    """Append one line, whoever else is writing."""
    here = {"at": time.monotonic(), "pid": os.getpid(), "thread": thread_name()}
    # Who is killed in the middle of a line leaves a piece of it: not before another.
    line = "\n" + json.dumps({**facts, **here})
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def thread_name():
    return threading.current_thread().name
