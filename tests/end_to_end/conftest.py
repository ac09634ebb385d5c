"""Real worker processes on the test's own database."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from django.db import connection

ROOT = Path(__file__).resolve().parents[2]


class Process:
    """A ``manage.py`` command in a process of its own, its output read as it comes."""

    def __init__(self, *arguments, settings=None, **environment):
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "django", *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.settings",
                "PYTHONPATH": str(ROOT),
                "PYTHONUNBUFFERED": "1",
                "BGTASKS_DB_NAME": str(connection.settings_dict["NAME"]),
                "BGTASKS_TEST_SETTINGS": json.dumps(settings or {}),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._popen.stdout:
            with self._news:
                self.lines.append(line.rstrip())
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    @property
    def output(self):
        return "\n".join(self.lines)

    def wait_for(self, text, times=1):
        """Until a line holds ``text`` for the ``times``-th time."""
        with self._news:
            seen = self._news.wait_for(
                lambda: (
                    sum(text in line for line in self.lines) >= times
                    or not self._reader.is_alive()
                ),
                timeout=30,
            )
        found = sum(text in line for line in self.lines) >= times
        assert seen and found, f"no {text!r} in:\n{self.output}"  # noqa: PT018 (one failure)

    def signal(self, number):
        self._popen.send_signal(number)

    def end(self):
        """Wait for its end and return the exit code."""
        code = self._popen.wait(60)
        self._reader.join()
        self._popen.stdout.close()
        return code

    def kill(self):
        if self._popen.poll() is None:
            self._popen.kill()
            self.end()


@pytest.fixture
def start():
    """Start commands as processes; what is left of them is killed."""
    processes = []

    def start(*arguments, settings=None, **environment):
        process = Process(*arguments, settings=settings, **environment)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
