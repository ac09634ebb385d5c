"""A load, the hosts that run it, and what is left when all is over."""

from collections import Counter as Counts

from django_bgtasks.models import Job, Worker
from tests.chaos.aftermath import Aftermath
from tests.chaos.app import tasks
from tests.chaos.app.models import Counter
from tests.chaos.audit import Audit
from tests.chaos.hosts import Host, eventually
from tests.chaos.load import COUNTERS, Load
from tests.chaos.size import size

#: What all storms of this session have come to.
figures = Counts()


class Storm:
    """What every scenario needs; each brings its own weather.

    Args:
        directory: for the audit and for the output of hosts.
        random: makes every choice.
    """

    def __init__(self, directory, random):
        self.random = random
        self.load = Load(random)
        self.audit = Audit(directory / "audit")
        self.hosts = []
        self._directory = directory
        Counter.objects.bulk_create(Counter(name=name) for name in COUNTERS)

    def start(self, *options, **how):
        """Start a host; see there."""
        log = self._directory / f"host-{len(self.hosts)}.log"
        host = Host(self.audit, log, *options, **how)
        self.hosts.append(host)
        return host

    def hold_jobs(self, gate, number=12):
        """Let so many jobs begin, and wait for the file ``gate``."""
        goal = len(self.audit) + number
        for _ in range(number):
            tasks.wait_for_file(str(gate))
        eventually(lambda: len(self.audit) == goal, f"{number} jobs that wait")

    def await_progress(self, lines):
        """Until bodies have begun and ended so many times, or there are none left."""
        goal = len(self.audit) + lines
        eventually(
            lambda: len(self.audit) >= goal or not Job.objects.unfinished().exists(),
            "progress",
        )

    def await_the_end_without(self, host):
        """Until others have run all jobs, and taken all workers of ``host`` for dead."""
        eventually(
            lambda: (
                not (
                    Job.objects.unfinished().exists()
                    or Worker.objects.filter(pid__in=host.workers).exists()
                )
            ),
            f"the end of all jobs without {host.pid}",
        )

    def settle(self):
        """Let the hosts do what is left, stop them, and look at what has become of it."""
        eventually(self._is_over, "the end of all jobs and of dead workers", SETTLING)
        for host in self.hosts:
            if host.is_alive:
                assert host.stop() == 0, host.output
        aftermath = Aftermath(self.audit, self.load, self.hosts)
        figures.update(aftermath.figures())
        aftermath.check()

    def clear_away(self):
        for host in self.hosts:
            host.clear_away()

    def _is_over(self):
        alive = [pid for host in self.hosts for pid in host.processes]
        return not (
            Job.objects.unfinished().exists()
            or Worker.objects.exclude(pid__in=alive).exists()
        )


#: Seconds that the hosts get for what is left.
SETTLING = size(45, 900)
