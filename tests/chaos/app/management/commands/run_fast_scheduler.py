import time
from datetime import datetime, timedelta

from django.core.management.base import BaseCommand

from django_bgtasks.worker.clock import Clock
from django_bgtasks.worker.scheduler import Scheduler


class FastScheduler(Scheduler):
    """A scheduler whose time goes faster than that of whoever waits for it.

    Args:
        began: the time that it was for it, and for all like it, at ``since``.
        since: seconds since the epoch.
        speed: seconds of its time in one of ours.
    """

    def __init__(self, began, since, speed):
        def tell():
            return began + timedelta(seconds=(time.time() - since) * speed)

        self._speed = speed
        super().__init__(clock=Clock(tell, lambda: time.monotonic() * speed))

    def wait(self):
        self._bell.wait(self._scheduling.timer.rest / self._speed)


class Command(BaseCommand):
    help = "Run the scheduler on a clock that is too fast, until it is killed."

    def add_arguments(self, parser):
        parser.add_argument("began", type=datetime.fromisoformat)
        parser.add_argument("since", type=float)
        parser.add_argument("speed", type=float)

    def handle(self, *args, began, since, speed, **options):
        FastScheduler(began, since, speed).run()
