"""Worker hosts: what ``run_tasks`` starts, and what can be done to it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Event

from django.db import connection

from tests.chaos.app import tasks
from tests.chaos.app.audit import VARIABLE
from tests.end_to_end.conftest import ROOT

#: Short, so that nobody has to wait for long; still much longer than a busy machine
#: may keep a process waiting.
HEARTBEAT_TIMEOUT = 3.0
SETTINGS = {"HEARTBEAT_TIMEOUT": HEARTBEAT_TIMEOUT, "SHUTDOWN_GRACE": 1.0}

#: What a worker says when it begins to claim.
STARTED = "started: queues"
#: The process that it is, and what it works on.
WHO_STARTED = re.compile(rf":(\d+) {STARTED} (.+), \d+ threads")


def eventually(condition, what="it", seconds=60):
    """Look again and again, for what other processes do sends no event."""
    pause, deadline = Event(), time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} has not come true"
        pause.wait(0.02)


class Host:
    """A supervisor with its workers, as if on a machine of its own.

    Args:
        audit: where its tasks write, and what is done to it is written.
        log: the file for its output.
        options: for ``run_tasks``.
        settings: for ``BGTASKS``, besides the short intervals.
        launcher: a command that starts a command, such as ``ip netns exec``.
        environment: for the processes.
    """

    def __init__(self, audit, log, *options, settings=(), launcher=(), **environment):
        self._audit = audit
        self._log = log
        command = [sys.executable, "-m", "django", "run_tasks", "--no-reload"]
        with log.open("w") as output:
            self._popen = subprocess.Popen(
                [*launcher, *command, *options],
                cwd=ROOT,
                env=self._environment(dict(settings), environment),
                stdout=output,
                stderr=subprocess.STDOUT,
                # Signals to the group reach the workers, too, and not the tests.
                start_new_session=True,
            )
        self.pid = self._popen.pid

    @property
    def is_alive(self):
        return self._popen.poll() is None

    @property
    def workers(self):
        """Ids of the worker processes."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return (
            [int(pid) for pid in children.read_text().split()] if self.is_alive else []
        )

    @property
    def processes(self):
        return [self.pid, *self.workers] if self.is_alive else []

    @property
    def queues(self):
        """What each of the workers that it ever had works on, by its process."""
        started = WHO_STARTED.findall(self.output)
        return {int(pid): queues.split(", ") for pid, queues in started}

    @property
    def output(self):
        return self._log.read_text()

    def signal(self, number):
        """To the supervisor alone, as ``kill`` or a process manager would."""
        self._popen.send_signal(number)

    def kill(self, pid):
        """As the out-of-memory killer, or somebody who is sure."""
        # Noted before, for afterwards it would be too late.
        self._audit.strike(pid, "killed")
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        if pid == self.pid:
            self._popen.wait(10)

    def strike(self, how):
        """Note that something befalls all of its processes."""
        for pid in self.processes:
            self._audit.strike(pid, how)

    def kill_all(self):
        """As when the machine loses its power."""
        self.strike("killed")
        self._signal_all(signal.SIGKILL)
        self._popen.wait(10)

    def freeze(self):
        """As a virtual machine that is suspended, past the death of its workers."""
        self._signal_all(signal.SIGSTOP)
        # Noted afterwards: until then, they may begin something.
        self.strike("frozen")

    def thaw(self):
        self._signal_all(signal.SIGCONT)

    def lines_about(self, job):
        return [line for line in self._lines() if job in line]

    def lines_about_itself(self):
        """Without what it said about jobs, and before it began to log."""
        return [
            line
            for line in self._lines()
            if tasks.__name__ not in line and ": 20" in line
        ]

    def wait_for(self, text, times=1):
        """Until its output holds ``text`` so many times."""
        eventually(lambda: self.output.count(text) >= times, f"{text!r} in the log")

    def stop(self):
        """Ask it to end, as an orderly deployment does."""
        # Before that, the signal would meet Python's own handler.
        self.wait_for(STARTED)
        self.signal(signal.SIGTERM)
        return self.end()

    def end(self):
        """Wait for its end; the exit code."""
        return self._popen.wait(60)

    def clear_away(self):
        """Leave nothing of it, the workers of a killed supervisor included."""
        self._signal_all(signal.SIGKILL)
        self._popen.wait(10)

    def _lines(self):
        return [f"{self._log.name}: {line}" for line in self.output.splitlines()]

    def _signal_all(self, number):
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _environment(self, settings, environment):
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "BGTASKS_DB_NAME": str(connection.settings_dict["NAME"]),
            "BGTASKS_TEST_SETTINGS": json.dumps({**SETTINGS, **settings}),
            VARIABLE: str(self._audit.path),
            **environment,
        }
