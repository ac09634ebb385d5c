"""A host that is cut off from the database, and rejoins."""

import pytest
from django.db import connection

from django_bgtasks.models import Job
from tests.chaos import network
from tests.chaos.conftest import missing
from tests.chaos.hosts import STARTED
from tests.chaos.size import size


@pytest.fixture
def sites(cluster):
    """Two, both with a way to the server."""
    if not network.can_be_made():
        missing("permission to make network namespaces, or no ip (iproute2)")
    sites = [network.Site(number) for number in (1, 2)]
    cluster.trust("10.213.0.0/16")
    addresses = ",".join(["127.0.0.1", *(site.address for site in sites)])
    cluster.restart(addresses=addresses)
    connection.close()
    yield sites
    cluster.restart()
    connection.close()
    for site in sites:
        site.remove()


def test_a_host_is_cut_off_and_rejoins(sites, storm, tmp_path):
    hosts = [
        storm.start("--processes=2", launcher=s.launcher, POSTGRES_HOST=s.address)
        for s in sites
    ]
    for host in hosts:
        host.wait_for(STARTED, times=2)
    for n in range(1, size(1, 10) + 1):
        gate = tmp_path / f"gate-{n}"
        storm.hold_jobs(gate)
        sites[1].cut_off()
        hosts[1].strike("cut off")
        gate.touch()
        storm.await_the_end_without(hosts[1])
        rows = list(Job.objects.order_by("pk").values())
        sites[1].rejoin()
        hosts[1].wait_for("its jobs were given to others; it ends", times=2 * n)
        hosts[1].wait_for(STARTED, times=2 * n + 2)
        assert list(Job.objects.order_by("pk").values()) == rows
    storm.load.add(100)
    storm.settle()
