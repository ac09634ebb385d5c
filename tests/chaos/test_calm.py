"""Without any storm: the suite itself, and that jobs run once if nothing happens."""

from tests.chaos.size import size


def test_all_jobs_run_once(storm):
    storm.load.add(size(500, 20_000))
    for _ in range(2):
        storm.start("--processes=2")
    storm.settle()
    assert not any(
        run.ended is None for runs in storm.audit.runs().values() for run in runs
    )
