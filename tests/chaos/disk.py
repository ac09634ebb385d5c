"""A small disk that can be full."""

import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

MEGABYTES = 256


class Disk:
    """A directory; if we may mount, a file system of its own, small and in memory."""

    def __init__(self):
        self.path = Path(tempfile.mkdtemp(prefix="bgtasks-chaos-"))
        # A server that is to work in it may be somebody else's process.
        self.path.chmod(0o755)
        self.is_small = _mount(self.path)
        self._ballast = self.path / "ballast"

    def fill(self):
        """Take all the room there is."""
        with self._ballast.open("ab", buffering=0) as file:
            for piece in (1 << 20, 1 << 12):
                _write_until_full(file, bytes(piece))

    def free(self):
        """Give it back."""
        self._ballast.unlink(missing_ok=True)

    def remove(self):
        if self.is_small:
            # Lazily: what still has a file open there must not keep it for ever.
            subprocess.run(["umount", "--lazy", self.path], check=True)  # noqa: S607 (wherever it is)
        shutil.rmtree(self.path)


def _mount(path):
    if os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=755", "tmpfs"]
    return subprocess.run([*command, path], check=False).returncode == 0


def _write_until_full(file, piece):
    with suppress(OSError):
        while True:
            file.write(piece)
