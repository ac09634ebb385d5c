"""An environment for each system, with what the head of its file asks for (PEP 723)."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SYSTEMS = ROOT / "benchmarks" / "systems"
WORKSPACE = ROOT / ".bench"

#: This checkout; it is installed as it stands here, not from a registry.
OURSELVES = "django-bgtasks"

_HEADER = re.compile(r"^# /// script\n(?P<toml>(?:#.*\n)+?)# ///$", re.MULTILINE)


class EnvironmentFailed(Exception):
    """An environment cannot be made; the message says why."""


@dataclass(frozen=True)
class Environment:
    """What a system's file asks for.

    Args:
        name: the file's name without its ending.
        python: such as "3.12", the lowest that the file allows.
        requirements: as pip takes them.
    """

    name: str
    python: str
    requirements: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return WORKSPACE / "env" / self.name

    @property
    def interpreter(self) -> Path:
        return self.folder / "bin" / "python"

    def make(self) -> None:
        """Make it, unless it is there and still what the file asks for.

        Raises:
            EnvironmentFailed: there is no such Python, or a package is not to be had.
        """
        mark = self.folder / "requirements.txt"
        wanted = self._mark()
        if mark.exists() and mark.read_text() == wanted:
            return
        print(
            f"Installing {self.name} into {self.folder.relative_to(ROOT)}", flush=True
        )
        self._install()
        mark.write_text(wanted)

    def _mark(self) -> str:
        lines = [f"# Python {self.python}", *self.requirements]
        if any(OURSELVES in line for line in self.requirements):
            # Installed editable: only what it asks for can be out of date.
            project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
            lines += ["# with:", *map(str, project["dependencies"])]
            lines.append(str(project["optional-dependencies"]))
        return "\n".join(lines)

    def _install(self) -> None:
        requirements = [
            part for line in self.requirements for part in _as_arguments(line)
        ]
        _run(_find_python(self.python), "-m", "venv", "--clear", str(self.folder))
        if requirements:
            _run(
                *(str(self.interpreter), "-m", "pip", "install", "--quiet"),
                *requirements,
            )


def environments() -> dict[str, Environment]:
    """The environments of all systems by name; a file without a head is no system."""
    found = {}
    for path in sorted(SYSTEMS.glob("*.py")):
        if header := _read_header(path):
            found[path.stem] = Environment(
                name=path.stem,
                python=_lowest_python(header["requires-python"]),
                requirements=tuple(header["dependencies"]),
            )
    return found


def _read_header(path: Path) -> dict[str, Any] | None:
    match = _HEADER.search(path.read_text())
    if match is None:
        return None
    return tomllib.loads(re.sub(r"^# ?", "", match["toml"], flags=re.MULTILINE))


def _lowest_python(requires: str) -> str:
    match = re.search(r">=\s*(\d+\.\d+)", requires)
    if match is None:
        raise ValueError(f"requires-python is {requires!r}; it must have a >=")
    return match[1]


def _as_arguments(requirement: str) -> list[str]:
    if not requirement.startswith(OURSELVES):
        return [requirement]
    return ["--editable", requirement.replace(OURSELVES, str(ROOT), 1)]


def _find_python(version: str) -> str:
    if shutil.which("pyenv"):
        latest = _output("pyenv", "latest", version)
        if latest:
            return f"{_output('pyenv', 'prefix', latest)}/bin/python"
    python = shutil.which(f"python{version}")
    if python is None:
        raise EnvironmentFailed(f"there is no Python {version}")
    return python


def _output(*command: str) -> str:
    return subprocess.run(
        command, capture_output=True, text=True, check=False
    ).stdout.strip()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise EnvironmentFailed(f"{Path(command[0]).name}: {lines[-1]}")
