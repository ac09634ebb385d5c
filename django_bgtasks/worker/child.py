"""A worker in a process that the supervisor has started."""

from __future__ import annotations

import signal

from django_bgtasks.worker.options import WorkerOptions

#: Those that the supervisor holds back until a worker has its own handlers.
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main(options: WorkerOptions) -> None:
    """Run a worker until it ends, is stopped by SIGTERM, or its parent is gone."""
    import django  # noqa: PLC0415 (see below)
    from django.apps import apps  # noqa: PLC0415

    # A child that was not forked begins here, before there are any models.
    if not apps.ready:
        django.setup()
    from django_bgtasks.worker.process import run_as_child  # noqa: PLC0415

    run_as_child(options)
