"""A system as the suite sees it: verbs that it answers, and a worker to start."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.environments import ROOT, WORKSPACE, Environment
from benchmarks.system import Load
from benchmarks.waiting import comes_to

#: Seconds that a verb may take at most; a million rows are among them.
VERB_LIMIT = 900
#: Seconds that a worker gets to stop in.
STOP_LIMIT = 10
#: Seconds between two looks at a proof file or a process.
LOOK = 0.02


class NotOffered(Exception):
    """The system has no such thing; that is no failure."""


class RunFailed(Exception):
    """A measurement came to nothing; the message says why."""


@dataclass(frozen=True)
class Subject:
    """A system that is measured.

    Args:
        place: its folder, which names its database, too. Another place is another
            installation of the same system.
    """

    environment: Environment
    place: str

    def at(self, place: str) -> Subject:
        """The same system with another folder and database."""
        return replace(self, place=f"{self.environment.name}_{place}")

    @property
    def name(self) -> str:
        return self.environment.name

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Label, versions, and how many jobs it is good for."""
        return self.ask("describe")

    def ask(self, verb: str, *args: object) -> Any:
        """The answer to a verb.

        Raises:
            NotOffered: the system has no such thing.
            RunFailed: it answered with an error, or not in time.
        """
        try:
            done = subprocess.run(
                self._command(verb, *args),
                env=self._variables,
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=VERB_LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RunFailed(f"{verb} took more than {VERB_LIMIT} s") from None
        if done.returncode:
            raise RunFailed(f"{verb}: {_last_line(done.stderr)}")
        return _answer(done.stdout)

    @contextmanager
    def asking(self, verb: str, *args: object) -> Iterator[Question]:
        """A verb that takes its time, from when it is ready."""
        with (
            (self.folder / f"{verb}.log").open("w") as errors,
            subprocess.Popen(
                self._command(verb, *args),
                env=self._variables,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            ) as process,
        ):
            try:
                question = Question(process, self.folder / f"{verb}.log")
                question.wait_until_ready()
                yield question
            finally:
                process.kill()

    def command(self, load: Load) -> str:
        """The worker's command, as one would type it in the project's folder."""
        return _command_for(self, load)

    @contextmanager
    def working(self, load: Load) -> Iterator[Worker]:
        """A worker at work; stopped in the end, whatever happens."""
        self.command(load)  # or NotOffered
        with (self.folder / "worker.log").open("w+") as log:
            process = subprocess.Popen(
                self._command("worker", *_as_arguments(load)),
                env=self._variables,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            worker = Worker(process, self.folder / "worker.log")
            try:
                yield worker
            finally:
                worker.stop()

    def wait_for_proof(self, size: int, worker: Worker) -> None:
        """Wait until the proof has ``size`` bytes.

        Raises:
            RunFailed: it stopped growing.
        """
        if not comes_to(size, self._proven, pause=LOOK, hopeless=worker.has_failed):
            raise RunFailed(
                f"{self._proven()} of {size} bytes of proof came; the worker's last "
                f"words: {worker.last_words()}"
            )

    def clear_proof(self) -> None:
        """Forget what has been proven; there must be no worker."""
        self.proof.write_bytes(b"")

    def start_anew(self) -> None:
        """Leave nothing of earlier runs; there must be no worker."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.clear_proof()
        self.ask("reset")

    def remove_everywhere(self) -> None:
        """Leave nothing at all of this system, in whatever place."""
        for folder in self.folder.parent.glob("*"):
            replace(self, place=folder.name).ask("remove")
            shutil.rmtree(folder)

    @property
    def folder(self) -> Path:
        return WORKSPACE / "data" / self.name / self.place

    @property
    def proof(self) -> Path:
        return self.folder / "proof"

    def _command(self, verb: str, *args: object) -> list[str]:
        module = f"benchmarks.systems.{self.environment.name}"
        return [
            *(str(self.environment.interpreter), "-m", module, verb),
            *map(str, args),
        ]

    def _proven(self) -> int:
        return self.proof.stat().st_size

    @property
    def _variables(self) -> dict[str, str]:
        return {
            **os.environ,
            "BENCH_DIR": str(self.folder),
            "BENCH_PROOF": str(self.proof),
            # Workers' commands find the suite's modules.
            "PYTHONPATH": str(ROOT),
        }


@dataclass(frozen=True)
class Question:
    """A verb at work."""

    process: subprocess.Popen[str]
    log: Path

    def wait_until_ready(self) -> None:
        word = self.process.stdout.readline()
        if word == "null\n":
            raise NotOffered
        if word != "ready\n":
            raise RunFailed(_last_line(self.log.read_text()))

    def answer(self, worker: Worker) -> Any:
        """What it answers in the end, unless the worker fails before."""
        while self.process.poll() is None:
            if worker.has_failed():
                raise RunFailed(f"the worker ended: {worker.last_words()}")
            time.sleep(LOOK)  # noqa: TID251 (either process may end first)
        return _answer(self.process.stdout.read())


@dataclass(frozen=True)
class Worker:
    """A worker's command, running in a process group of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    def has_failed(self) -> bool:
        """Whether it has ended with an error; some end well when all is done."""
        return bool(self.process.poll())

    def last_words(self) -> str:
        return _last_line(self.log.read_text(errors="replace"))

    def memory(self) -> float:
        """Megabytes that it and its children take (PSS)."""
        return processes.memory(self.process.pid)

    def cpu_seconds(self) -> float:
        """Seconds of a core that it and its children have used so far."""
        return processes.cpu_seconds(self.process.pid)

    def stop(self) -> None:
        """Ask it to stop; then end what is left of its group."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_LIMIT)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@cache
def _command_for(subject: Subject, load: Load) -> str:
    command = subject.ask("worker-command", *_as_arguments(load))
    return shlex.join(command).replace(f"{ROOT}/", "")


def _as_arguments(load: Load) -> tuple[object, ...]:
    return (load.body, load.concurrency, load.processes)


def _answer(output: str) -> Any:
    try:
        answer = json.loads(output.strip().splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        raise RunFailed(f"no answer in {output!r}") from None
    if answer is None:
        raise NotOffered
    return answer


def _last_line(text: str) -> str:
    lines = text.strip().splitlines() or ["(it said nothing)"]
    return lines[-1].replace(f"{ROOT}/", "")
