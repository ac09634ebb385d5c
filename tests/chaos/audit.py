"""Reading what the bodies wrote, and writing down what was done to their processes."""

import json
from collections import defaultdict
from dataclasses import dataclass

from tests.chaos.app.audit import write


@dataclass
class Run:
    """One execution of a body, by one claim."""

    job: str
    token: int
    attempt: int
    worker: str
    pid: int
    began: float
    ended: float | None = None
    how: str | None = None

    @classmethod
    def from_line(cls, line):
        names = ("job", "token", "attempt", "worker", "pid")
        return cls(*(line[name] for name in names), began=line["at"])


class Audit:
    """The file, and what it says. What the suite does to processes stands in it, too."""

    def __init__(self, path):
        self.path = path
        path.touch()

    def strike(self, pid, how):
        """From now on, what ``pid`` had claimed need not be its own any more."""
        write(self.path, event="struck", victim=pid, how=how)

    def __len__(self):
        with self.path.open("rb") as file:
            return sum(line.startswith(b"{") for line in file)

    def lines(self):
        with self.path.open() as file:
            return [
                json.loads(line)
                for line in file
                if line.startswith("{") and "}" in line
            ]

    def runs(self):
        """Runs by job, in the order of their beginning."""
        runs, by_claim = defaultdict(list), {}
        for line in self.lines():
            if line["event"] == "struck":
                continue
            claim = line["job"], line["token"], line["pid"]
            if line["event"] == "began":
                by_claim[claim] = run = Run.from_line(line)
                runs[run.job].append(run)
            else:
                by_claim[claim].ended = line["at"]
                by_claim[claim].how = line["how"]
        return runs

    def strikes(self):
        """Moments at which something was done to a process, by its id."""
        strikes = defaultdict(list)
        for line in self.lines():
            if line["event"] == "struck":
                strikes[line["victim"]].append(line["at"])
        return strikes

    def last_signs_of_life(self):
        """By worker: when it last wrote anything."""
        return {line["worker"]: line["at"] for line in self.lines() if "worker" in line}

    def story(self, job):
        """All lines about a job, and what was done to the processes that ran it."""
        lines = self.lines()
        pids = {line["pid"] for line in lines if line.get("job") == job}
        return [
            json.dumps(line)
            for line in lines
            if line.get("job") == job or line.get("victim") in pids
        ]
