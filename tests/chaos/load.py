"""Jobs to be run through a storm, the same ones for the same seed."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection, transaction

from django_bgtasks import enqueue_many
from django_bgtasks.models import Job
from tests.chaos.app import tasks

COUNTERS = ("red", "green", "blue")
QUEUES = ("default", "mail")
PRIORITIES = (-10, 0, 0, 10)
#: Signatures of jobs that succeed at their first attempt if all is well with us; each
#: kind with the weight that it has among them.
GOOD = [
    (40, lambda random: tasks.tiny.s()),
    (15, lambda random: tasks.work.s(random.uniform(0.001, 0.03))),
    (2, lambda random: tasks.work.s(random.uniform(0.3, 1))),
    (8, lambda random: tasks.wait.s(random.uniform(0.001, 0.2))),
    (18, lambda random: tasks.count.s(random.choice(COUNTERS))),
]
KINDS = [
    *GOOD,
    (8, lambda random: tasks.fail_at_first.s(random.randint(1, 3))),
    (3, lambda random: tasks.fail.s()),
    (6, lambda random: tasks.snooze.s(random.randint(1, 3))),
    (5, lambda random: tasks.run_once.s(random.uniform(0.001, 0.05))),
    # Its other attempts are for other failures than the loss of its worker.
    (5, lambda random: tasks.run_once.s(0.01).using(max_attempts=50)),
    (1, lambda random: tasks.overrun.s(random.choice(list(tasks.PASTIMES)))),
]
#: Of so many jobs one is cancelled soon, and whatever it is at by then.
CANCELLED = 0.04


class Load:
    """Enqueues jobs of all kinds, alone and in transactions, and knows their fate.

    Args:
        random: makes every choice.
    """

    def __init__(self, random):
        self._random = random
        self.committed = set()
        self.rolled_back = set()
        #: Their commit was never heard of.
        self.doubtful = set()
        #: Cancelled, or tried to: by when that was surely done, if it was.
        self.cancelled = {}
        self._recent = deque(maxlen=200)

    def add(self, count):
        """Enqueue ``count`` jobs of all kinds, or try to, and cancel a few."""
        before = self.committed.copy()
        self._add(count, KINDS)
        self._recent += self.committed - before
        self._cancel(sum(self._random.random() < CANCELLED for _ in range(count)))

    def add_good(self, count):
        """Enqueue ``count`` jobs that have no reason to end in any other way."""
        self._add(count, GOOD)

    def _add(self, count, kinds):
        while count > 0:
            several = min(count, self._random.randint(1, 20))
            enqueue = self._random.choice([alone, together])
            rolls_back = self._random.random() < 0.1
            signatures = [self._signature(kinds) for _ in range(several)]
            self._enqueue(enqueue, signatures, rolls_back=rolls_back)
            count -= several

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Meanwhile, enqueue without end; the database may be away."""
        enough = Event()

        def flow():
            while not enough.wait(0.05):
                self.add(10)
            connection.close()

        thread = Thread(target=flow)
        thread.start()
        try:
            yield
        finally:
            enough.set()
            thread.join()

    def _signature(self, kinds):
        weights, makers = zip(*kinds, strict=True)
        (make,) = self._random.choices(makers, weights)
        return make(self._random).using(
            queue_name=self._random.choice(QUEUES),
            priority=self._random.choice(PRIORITIES),
        )

    def _cancel(self, count):
        """Ask for the end of so many jobs: of such that run, or of any."""
        if not count:
            return
        recent = Job.objects.filter(pk__in=self._recent)
        jobs = self._random.choice([recent.running, recent.unfinished])()
        try:
            chosen = list(jobs.values_list("pk", flat=True)[:count])
            self.cancelled.update(dict.fromkeys(chosen, float("inf")))
            Job.objects.filter(pk__in=chosen).cancel()
            self.cancelled.update(dict.fromkeys(chosen, time.monotonic()))
        except (OperationalError, InterfaceError):
            connection.close()

    def _enqueue(self, enqueue, signatures, *, rolls_back):
        ids = set()
        try:
            with transaction.atomic():
                ids.update(UUID(result.id) for result in enqueue(signatures))
                transaction.set_rollback(rolls_back)
        except (OperationalError, InterfaceError):
            # The connection may be of no use any more.
            connection.close()
            self.doubtful |= ids
        else:
            (self.rolled_back if rolls_back else self.committed).update(ids)


def alone(signatures):
    return [signature.enqueue() for signature in signatures]


def together(signatures):
    return enqueue_many(signatures)
