"""The bodies as tasks."""

from __future__ import annotations

from benchmarks import bodies
from django_bgtasks import background

tasks = {
    name: background(getattr(bodies, name))
    for name in ("noop", "nap", "crunch", "stamp", "echo")
}
