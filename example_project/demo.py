"""Run the whole example: database, admin user, web server, and a worker.

    python example_project/demo.py

PORT chooses another port to start looking from than 8000, DATABASE_URL another
database than SQLite. Ctrl-C ends everything.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic
from typing import NamedTuple

import django
from django.core.management import call_command
from django.db import connections

HERE = Path(__file__).resolve().parent
FIRST_PORT = 8000
PORTS_TRIED = 50
POLL_SECONDS = 0.2
# The worker takes up to 32: its own grace, and a moment for what it interrupts.
GRACE_SECONDS = 40
CHILD_ENVIRONMENT = {
    "PYTHONUNBUFFERED": "1",
    "PYTHONIOENCODING": "utf-8",
    "DJANGO_RUNSERVER_HIDE_WARNING": "true",
}
ON_WINDOWS = sys.platform == "win32"


class Child(NamedTuple):
    process: subprocess.Popen
    relay: threading.Thread


def main():
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_config.settings")
    django.setup()
    prepare()
    port = free_port(int(os.environ.get("PORT", FIRST_PORT)))
    os.environ["SITE_URL"] = f"http://127.0.0.1:{port}"
    say("demo", f"Site:   {os.environ['SITE_URL']}/")
    say("demo", f"Admin:  {os.environ['SITE_URL']}/admin/")
    say("demo", "Ctrl-C ends everything.")
    return run_together(commands(port))


def prepare():
    say("demo", "Preparing the database")
    call_command("migrate", verbosity=0)
    make_admin()
    load_sample_data()
    connections.close_all()


def make_admin():
    from django.contrib.auth import get_user_model  # noqa: PLC0415 (after setup)

    users = get_user_model().objects
    if users.filter(username="admin").exists():
        # With this Python: who has never activated .venv has no other with Django.
        reset = [sys.executable, str(HERE / "manage.py"), "changepassword", "admin"]
        say("demo", "User admin is there already. Forgot the password?")
        say("demo", f"    {subprocess.list2cmdline(reset)}")
        return
    password = secrets.token_urlsafe(12)
    users.create_superuser("admin", "admin@example.com", password)
    say("demo", f"User:   admin    Password: {password}    (shown this once)")


def load_sample_data():
    from django_bgtasks.models import Job  # noqa: PLC0415 (after setup)
    from jobs.starting import start_some  # noqa: PLC0415 (as above)
    from newsletter.sample import load_subscribers  # noqa: PLC0415 (as above)

    load_subscribers()
    if not Job.objects.exists():
        start_some()


def free_port(first):
    for port in range(first, first + PORTS_TRIED):
        with socket.socket() as probe:
            if not ON_WINDOWS:
                # As runserver does, so that a port it left just now counts as free.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    sys.exit(f"No free port between {first} and {first + PORTS_TRIED - 1}.")


def commands(port):
    """The name and the arguments of every process."""
    return {"web": ["runserver", f"127.0.0.1:{port}"], "worker": ["run_tasks"]}


def run_together(wanted):
    """Run all until one ends or a signal asks; end the others; return the code."""
    signals = catch_signals()
    children = {name: start(name, arguments) for name, arguments in wanted.items()}
    processes = {name: child.process for name, child in children.items()}
    code = wait_for_end(processes, signals)
    end_all(processes.values(), signals)
    for child in children.values():
        # For the last lines. They end with the processes; if not, we do not wait.
        child.relay.join(timeout=2)
    return code


def catch_signals():
    """A queue of signals. Installed before the children start: what was ignored (as
    under nohup, or in the background of a script) would stay ignored in them.
    """
    # SimpleQueue, because a handler may interrupt the very code that reads it.
    received = SimpleQueue()
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(
                getattr(signal, name), lambda number, frame: received.put(number)
            )
    return received


def start(name, arguments):
    # A group of its own: Ctrl-C in the terminal reaches only this process, which then
    # ends the others in its own way; and what they have started, ends with them.
    group = (
        {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        if ON_WINDOWS
        else {"process_group": 0}
    )
    process = subprocess.Popen(
        [sys.executable, str(HERE / "manage.py"), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env=os.environ | CHILD_ENVIRONMENT,
        **group,
    )
    thread = threading.Thread(target=relay, args=(name, process.stdout), daemon=True)
    thread.start()
    return Child(process, thread)


def relay(name, output):
    for line in output:
        say(name, line.rstrip())


def wait_for_end(processes, signals):
    """0 if a signal asked for the end, or the code of the process that ended first."""
    while True:
        for name, process in processes.items():
            code = process.poll()
            if code is not None:
                say("demo", f"{name} ended with code {code}; ending the others")
                # Popen says -9 for killed by signal 9, shells say 128 + 9.
                return code if code >= 0 else 128 - code
        if received(signals, POLL_SECONDS):
            say("demo", "Ending")
            return 0


def received(signals, seconds):
    # Never without a time limit, which on Windows would keep Ctrl-C waiting too.
    try:
        signals.get(timeout=seconds)
    except Empty:
        return False
    return True


def end_all(processes, signals):
    """Ask all to end and wait; at a second signal, or too late, make them."""
    for process in processes:
        ask_to_end(process)
    latest = monotonic() + GRACE_SECONDS
    while any(process.poll() is None for process in processes):
        if received(signals, POLL_SECONDS) or monotonic() > latest:
            say("demo", "Not waiting any longer")
            break
    for process in processes:
        kill(process)
        process.wait()


def ask_to_end(process):
    # Not SIGINT: a process still busy with its imports would print a traceback.
    if not ON_WINDOWS:
        signal_group(process, signal.SIGTERM)
    elif process.poll() is None:
        process.send_signal(signal.CTRL_BREAK_EVENT)


def kill(process):
    """The process and what it may have left behind."""
    if ON_WINDOWS:
        tree = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
        subprocess.run(tree, capture_output=True, check=False)
    else:
        signal_group(process, signal.SIGKILL)


def signal_group(process, number):
    # The whole group may have ended; macOS says so in the second way.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def say(name, line):
    # A closed terminal must not keep this process from ending the others.
    with suppress(OSError):
        # In one piece, or the lines of two threads would mix.
        print(f"{name:9} | {line}\n", end="", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        # While it prepares the database; later, signals are caught.
        sys.exit(130)
