"""What backends of Django's own tasks share: how one defines, enqueues and waits."""

from __future__ import annotations

from django.apps import AppConfig
from django.tasks import TaskResult, task

from benchmarks import bodies
from benchmarks.django_system import OnPostgreSQL, value_of


class Bodies(AppConfig):
    """Makes the bodies tasks, once Django has its settings."""

    name = "benchmarks"

    def ready(self) -> None:
        for name, body in bodies.BODIES.items():
            setattr(bodies, name, task(body))


class DjangoTasks(OnPostgreSQL):
    """A backend of Django's tasks, with PostgreSQL."""

    def enqueue_one(self, body: str, *args: int) -> TaskResult:
        return getattr(bodies, body).enqueue(*args)

    def wait_for(self, handle: TaskResult) -> object:
        return value_of(handle)
