"""The bodies as tasks."""

from __future__ import annotations

from benchmarks import bodies
from django_bgtasks import background

tasks = {name: background(body) for name, body in bodies.BODIES.items()}
