"""Outcomes on their way into their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from uuid import UUID

from django_bgtasks.models import Job
from django_bgtasks.outcomes import Error, Failed, Outcome, Succeeded
from django_bgtasks.redaction import loggable
from django_bgtasks.signals import job_lost, logger
from django_bgtasks.store import lifecycle
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.engines.base import Want
from django_bgtasks.store.measuring import Run
from django_bgtasks.tasks import secrets_of
from django_bgtasks.worker.clock import Clock
from django_bgtasks.worker.tallying import Tallier


def _tell_nobody(jobs: Iterable[Job]) -> None:
    """Who waits for a job sees its end after a while."""


class Settler:
    """Keeps outcomes until they are written, and lets no one of them block the others.

    Args:
        worker: the id of the worker whose runs ended.
        clock: tells the time of the database.
        tell: called with the jobs whose outcomes are written.
    """

    def __init__(
        self,
        worker: UUID,
        clock: Clock,
        tell: Callable[[Iterable[Job]], None] = _tell_nobody,
    ) -> None:
        self._worker = worker
        self._clock = clock
        self._tell = tell
        self._pending: list[Run] = []
        #: Counts what is recorded.
        self.tallier = Tallier(clock.monotonic)

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def job_ids(self) -> set[UUID]:
        """Of the jobs whose outcomes are not written."""
        return {job.pk for job, _, _ in self._pending}

    def add(self, job: Job, outcome: Outcome, seconds: float = 0.0) -> None:
        """Take the outcome of a run, to be written with the next ones.

        Args:
            seconds: how long it ran.
        """
        self._pending.append((job, outcome, seconds))

    def note_recorded(self, run: Run) -> None:
        """Take a run whose outcome is written already."""
        self._heed([run], [], self._clock.now())

    def settle(self) -> None:
        """Write all outcomes, in one transaction if that is possible.

        Raises:
            Exception: the database is in trouble; what is not written is kept.
        """
        if not self._pending:
            return
        now = self._clock.now()
        try:
            lost = self._write(self._pending, now)
        except Exception as error:  # whatever a driver or an outcome may raise
            if may_pass(error):
                raise
            # Some outcome among them cannot be stored. That must not hold up the
            # others, nor take the worker down.
            self._settle_one_by_one()
        else:
            self._let_go(lost, now)

    def settle_and_claim(self, want: Want) -> list[Job]:
        """Write all outcomes and claim what is wanted, in one trip if it can be.

        Raises:
            Exception: the database is in trouble; what is not written is kept.
        """
        if not all(
            isinstance(outcome, Succeeded) and job.store_result
            for job, outcome, _ in self._pending
        ):
            self.settle()
        now = self._clock.now()
        if not self._pending:
            return lifecycle.claim(self._worker, want, now)
        try:
            lost, jobs = lifecycle.finish_and_claim(
                self._worker, _endings(self._pending), want, now
            )
        except Exception as error:  # as above
            if may_pass(error):
                raise
            # Find out whether an outcome is to blame.
            self.settle()
            return lifecycle.claim(self._worker, want, self._clock.now())
        self._let_go(lost, now)
        return jobs

    def _settle_one_by_one(self) -> None:
        while self._pending:
            now = self._clock.now()
            run, lost = self._settle_one(self._pending[0], now)
            # Only now: had the database failed, it would have been kept.
            self._pending.pop(0)
            self._heed([run], lost, now)

    def _settle_one(self, run: Run, now: datetime) -> tuple[Run, list[Job]]:
        """Write one outcome, or else that it cannot be stored.

        Returns:
            What was written, and the job if it was lost.
        """
        try:
            return run, self._write([run], now)
        except Exception as error:  # as above
            if may_pass(error):
                raise
            job, _, seconds = run
            # The database may quote what it refuses.
            secrets = secrets_of(job)
            logger.error(
                "The outcome of %s cannot be stored; it is FAILED",
                job,
                exc_info=loggable(error, secrets),
            )
            failed = Failed(Error.from_exception(error, secrets), None)
            run = job, failed, seconds
            return run, self._write([run], now)

    def _write(self, runs: list[Run], now: datetime) -> list[Job]:
        return lifecycle.finish(self._worker, _endings(runs), now)

    def _let_go(self, lost: list[Job], now: datetime) -> None:
        """All that was pending is written, but of jobs that were lost."""
        runs, self._pending = self._pending, []
        self._heed(runs, lost, now)

    def _heed(self, runs: list[Run], lost: list[Job], now: datetime) -> None:
        """Count what was recorded, and tell who waits for it; tell what was not."""
        if lost:
            ids = {job.pk for job in lost}
            runs = [run for run in runs if run[0].pk not in ids]
        self.tallier.count(runs, now)
        for job in lost:
            job_lost.send_robust(type(self), job=job)
        self._tell(job for job, _, _ in runs)


def _endings(runs: list[Run]) -> list[lifecycle.Ended]:
    return [(job, outcome) for job, outcome, _ in runs]


def may_pass(error: Exception) -> bool:
    """Whether the same may succeed when it is tried again."""
    engine = get_engine()
    return engine.is_transient(error) or engine.is_conflict(error)
