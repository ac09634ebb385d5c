"""Which queue to claim from next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence

from django_bgtasks.models import Job
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.engines.base import Mark, Want
from django_bgtasks.worker.timer import Timer

#: Seconds for which claims may go on from what is known: longest delay of a job that
#: is more urgent than those being claimed, or whose queue had none before.
LOOK_INTERVAL = 0.1


class Lanes:
    """The queues with READY jobs, taken in turn so that none starves.

    Args:
        among: names of the queues to work on; empty for all.
        monotonic: seconds from a clock that is never set.
    """

    def __init__(self, among: Sequence[str], monotonic: Callable[[], float]) -> None:
        self._among = among
        self._ready: deque[str] = deque()
        self._marks: dict[str, Mark] = {}
        self._last_turn = ""
        self._look_again = Timer(LOOK_INTERVAL, monotonic)

    def __bool__(self) -> bool:
        """Whether there may be something to claim, by what is known."""
        return bool(self._ready)

    def add(self, names: Collection[str]) -> None:
        """Somebody says that these queues have got jobs."""
        if not self._ready:
            # To look now would only tell the same.
            self._look_again.rest_again()
        for name in names:
            if name not in self._ready and (not self._among or name in self._among):
                self._ready.append(name)

    def look(self) -> None:
        """Find out which queues have READY jobs, if what is known is too old."""
        is_due = self._look_again.is_due()
        if self._ready and not is_due:
            return
        self._marks.clear()
        names = get_engine().ready_queues(self._among)
        # Whose turn it would be, if all of them had been there all the time.
        later = [name for name in names if name > self._last_turn]
        self._ready = deque(later + names[: len(names) - len(later)])

    def next(self, limit: int) -> Want | None:
        """What to claim now; None if there is nothing by what is known."""
        if not self._ready:
            return None
        queue = self._ready[0]
        return Want(queue, limit, self._marks.get(queue))

    def note(self, want: Want, jobs: Sequence[Job]) -> None:
        """Learn from what a claim brought."""
        if len(jobs) == want.limit:
            self._ready.rotate(-1)
            self._marks[want.queue] = jobs[-1].priority, jobs[-1].pk
        elif want.after is not None:
            # Nothing left behind the mark, but maybe before it.
            del self._marks[want.queue]
        else:
            self._ready.remove(want.queue)
        if jobs:
            self._last_turn = want.queue
