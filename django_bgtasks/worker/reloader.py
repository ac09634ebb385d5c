"""Starting the worker anew when the project's code changes.

Django's own reloader ends the process in the middle of whatever it does. A worker
has jobs running: it must stop first, and must not stop for code that does not load.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from django.utils import autoreload

from django_bgtasks.signals import logger

#: Seconds between two looks at the files.
INTERVAL = 1.0


class Reloader:
    """Watches the code of the project from a thread of its own.

    Args:
        on_change: called once, when code has changed and loads without an error.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.code_has_changed = False
        self._on_change = on_change
        self._files = autoreload.StatReloader()
        self._modified: dict[Path, float] = {}

    def start(self) -> None:
        """Begin to watch."""
        self._modified = dict(self._files.snapshot_files())
        threading.Thread(
            target=self._watch, name="bgtasks-reloader", daemon=True
        ).start()

    def restart_process(self) -> NoReturn:
        """Replace this process by one with the new code and the same arguments."""
        arguments = autoreload.get_child_arguments()
        if sys.platform == "win32":
            # exec on Windows is a new process, which the console does not wait for.
            sys.exit(subprocess.call(arguments))
        os.execv(arguments[0], arguments)

    def _watch(self) -> None:
        pause = threading.Event()
        while not self.code_has_changed:
            pause.wait(INTERVAL)
            changed = self._find_changed_file()
            if changed is not None and self._code_loads(changed):
                logger.info("%s changed; the worker starts anew", changed)
                self.code_has_changed = True
                self._on_change()

    def _find_changed_file(self) -> Path | None:
        before, self._modified = self._modified, dict(self._files.snapshot_files())
        for path, modified in self._modified.items():
            if modified > before.get(path, modified):
                return path
        return None

    def _code_loads(self, file_path: Path) -> bool:
        # Asking for help makes the command load settings, apps and tasks, no more.
        trial = subprocess.run(
            [*autoreload.get_child_arguments(), "--help"],
            capture_output=True,
            text=True,
            check=False,
        )
        if trial.returncode != 0:
            logger.error(
                "%s changed, but the code does not load; the worker goes on with "
                "the old one:\n%s",
                file_path,
                trial.stderr.strip(),
            )
        return trial.returncode == 0
