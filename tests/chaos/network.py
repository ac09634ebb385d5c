"""Sites that are connected with this machine by one cable each, which can be cut."""

import os
import shutil
import subprocess

#: Which it is among those of other runs on this machine.
OURS = os.getpid() % 250


def can_be_made():
    return os.geteuid() == 0 and shutil.which("ip") is not None


class Site:
    """A network namespace with a host name of its own.

    Args:
        number: which of the sites it is.
    """

    def __init__(self, number):
        self.name = f"bgtasks{OURS}-{number}"
        self._cable = f"bgt{OURS}-{number}"
        #: Of this machine, as the site sees it.
        self.address = f"10.213.{OURS}.{number * 4 + 1}"
        own_address = f"10.213.{OURS}.{number * 4 + 2}"
        ip("netns", "add", self.name)
        ip("link", "add", self._cable, "type", "veth",
           "peer", "name", "uplink", "netns", self.name)  # fmt: skip
        ip("address", "add", f"{self.address}/30", "dev", self._cable)
        ip("-n", self.name, "address", "add", f"{own_address}/30", "dev", "uplink")
        ip("-n", self.name, "link", "set", "lo", "up")
        ip("-n", self.name, "link", "set", "uplink", "up")
        self.rejoin()

    @property
    def launcher(self):
        """What a command has to begin with, to be run there."""
        rename = 'hostname "$0" && exec "$@"'
        unshare = ["unshare", "--uts", "sh", "-c", rename, self.name]
        return ["ip", "netns", "exec", self.name, *unshare]

    def cut_off(self):
        ip("link", "set", self._cable, "down")

    def rejoin(self):
        ip("link", "set", self._cable, "up")

    def remove(self):
        # The cable goes with the namespace, but only once nothing runs there.
        ip("link", "delete", self._cable)
        ip("netns", "delete", self.name)


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)  # noqa: S607 (wherever it is)
