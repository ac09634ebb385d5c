"""Processes die: killed by others, or by the jobs that they run."""

from django_bgtasks.models import Attempt, Job
from tests.chaos.app import tasks
from tests.chaos.app.tasks import MURDERS
from tests.chaos.hosts import eventually
from tests.chaos.size import size


def test_workers_and_supervisors_are_killed_at_random(storm):
    for _ in range(size(10, 200)):
        while sum(host.is_alive for host in storm.hosts) < 2:
            storm.start("--processes=2")
        storm.load.add(30)
        storm.await_progress(40)
        kill_somebody(storm)
    storm.start("--processes=2")
    storm.settle()


def kill_somebody(storm):
    """A process, or now and then a whole host."""
    host = storm.random.choice([host for host in storm.hosts if host.is_alive])
    if storm.random.random() < 0.2:
        host.kill_all()
    else:
        host.kill(storm.random.choice(host.processes))


def test_an_atomic_job_is_killed_halfway(storm, tmp_path):
    """What it had counted was not counted: see the counters of the aftermath."""
    host = storm.start("--processes=2")
    for n in range(size(2, 20)):
        halfway, gate = tmp_path / f"halfway-{n}", tmp_path / f"gate-{n}"
        tasks.count_and_wait("red", str(halfway), str(gate))
        eventually(halfway.exists)
        for pid in host.workers:
            host.kill(pid)
        gate.touch()
    storm.load.add(60)
    storm.settle()


def test_poison_among_good_jobs(storm):
    storm.load.add_good(size(150, 3000))
    poison = {
        how: [tasks.take_the_process_down(how).id for _ in range(size(1, 5))]
        for how in MURDERS
    }
    storm.load.add_good(size(150, 3000))
    storm.start("--processes=2")
    storm.settle()
    for how, ids in poison.items():
        for job in Job.objects.filter(pk__in=ids):
            assert job.status == "FAILED"
            assert [a.ending for a in job.attempts.all()] == ["LOST"] * job.max_attempts
            assert "the job may be the cause" in job.attempts.last().error, how
    # Whoever ran beside them is charged nothing.
    guilty = [pk for ids in poison.values() for pk in ids]
    assert not Attempt.objects.exclude(job__in=guilty).exists()
    good = Job.objects.exclude(pk__in=guilty)
    assert set(good.values_list("status", "attempt")) == {("SUCCESSFUL", 1)}
