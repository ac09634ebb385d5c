"""demo.py as a person runs it: as a process, stopped by a signal."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from django.conf import settings

import demo

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no signals to send to one process"
)


@pytest.fixture
def run(tmp_path):
    """Starts Python on the site, with a database of its own."""
    environment = os.environ | {
        "DATA_DIR": str(tmp_path),
        "DEBUG": "1",
        # Not where somebody's own demo may be starting.
        "PORT": str(unused_port()),
    }
    environment.pop("DATABASE_URL", None)
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    processes = []

    def run(*arguments):
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=settings.BASE_DIR,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


def unused_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def output_until(process, pattern):
    lines = ""
    for line in process.stdout:
        lines += line
        if match := re.search(pattern, line):
            return lines, match
    pytest.fail(f"{pattern} was not printed:\n{lines}")


def answers(url):
    try:
        with urlopen(url, timeout=5) as response:
            return response.status == 200
    except URLError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_runs_until_a_signal_ends_all_of_it(run, eventually, number):
    process = run("demo.py")
    output, match = output_until(process, r"Site: +(\S+)")
    assert re.search(r"User: +admin +Password: \S{16}", output)
    eventually(lambda: answers(match[1]))
    output_until(process, r"worker +\| .*started")

    process.send_signal(number)
    rest, _ = process.communicate(timeout=60)

    assert process.returncode == 0, rest
    assert "Traceback" not in rest
    assert not answers(match[1])


def test_demo_ends_quietly_while_it_prepares(run):
    process = run("demo.py")
    output_until(process, "Preparing the database")

    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "Traceback" not in rest


def test_the_second_time_demo_keeps_the_password(run):
    prepare = "import demo; demo.run_together = print; demo.main()"
    run("-c", prepare).communicate(timeout=60)
    output, _ = run("-c", prepare).communicate(timeout=60)

    assert "admin is there already" in output
    assert "Password:" not in output
    # What is printed works in a terminal whose PATH has no Python with Django.
    reset = re.search(r"demo +\| +(.+ changepassword admin)\n", output)[1]
    subprocess.run(
        [*shlex.split(reset), "--help"], env=os.environ | {"PATH": ""}, check=True
    )


def test_demo_evades_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        assert demo.free_port(port) > port


def test_when_one_ends_all_end_with_its_code(run):
    wanted = {"worker": ["run_tasks"], "broken": ["no_such_command"]}
    process = run(
        "-c",
        "import demo, django, os, sys;"
        "os.environ['DJANGO_SETTINGS_MODULE'] = 'site_config.settings';"
        "django.setup(); demo.prepare();"
        f"sys.exit(demo.run_together({wanted!r}))",
    )

    output, _ = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "broken ended with code 1; ending the others" in output
