"""A PostgreSQL server of our own, which may be restarted, starved and cut off."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

#: Nothing here has to outlive the machine.
CONFIGURATION = """
unix_socket_directories = ''
fsync = off
max_connections = 60
shared_buffers = 32MB
min_wal_size = 4MB
max_wal_size = 32MB
log_min_messages = warning
"""


def programs():
    """The directory of the newest server's programs; None if there is no server."""
    found = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(found, key=lambda path: float(path.parts[-3]), default=None)
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else newest and newest.parent


class Cluster:
    """A server with its data in a directory below ``path``, run by whom it accepts."""

    def __init__(self, path):
        self._data = path / "data"
        self.port = free_port()
        # As root, it refuses to run.
        self._user = {"user": "postgres"} if os.geteuid() == 0 else {}
        self._data.mkdir()
        if self._user:
            shutil.chown(self._data, "postgres")
        self._run("initdb", "--auth=trust", "--username=postgres", "--no-sync",
                  "--encoding=UTF8", "--no-locale", "--wal-segsize=1")  # fmt: skip
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(CONFIGURATION)

    def start(self, addresses="127.0.0.1"):
        """Listen on ``addresses`` and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses={addresses}"
        log = self._data / "log"
        self._run("pg_ctl", "start", "--wait", f"--log={log}", f"--options={options}")

    def stop(self, mode="fast"):
        """End it: ``fast`` says goodbye to its clients, ``immediate`` is a crash."""
        self._run("pg_ctl", "stop", "--wait", f"--mode={mode}")

    def restart(self, mode="fast", addresses="127.0.0.1"):
        self.stop(mode)
        self.start(addresses)

    def start_if_it_is_down(self):
        """After trouble that it may not have survived."""
        status = self._run("pg_ctl", "status", check=False)
        if status.returncode != 0:
            self.start()

    def trust(self, network):
        """Let clients of ``network`` in; from the next start on."""
        with (self._data / "pg_hba.conf").open("a") as file:
            file.write(f"host all all {network} trust\n")

    def _run(self, program, *arguments, check=True):
        return subprocess.run(
            [programs() / program, *arguments, f"--pgdata={self._data}"],
            check=check,
            cwd=self._data,
            stdin=subprocess.DEVNULL,
            # The server keeps what it inherits.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._user,
        )


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
