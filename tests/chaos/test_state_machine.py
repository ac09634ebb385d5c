"""The store's verbs in any order, by several workers, against a model of them."""

from collections import Counter as Counts
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from django_bgtasks.conf import DEFAULT_RETENTION
from django_bgtasks.models import Attempt, Job
from django_bgtasks.outcomes import (
    Cancelled,
    Error,
    Failed,
    Lost,
    Released,
    Snoozed,
    Succeeded,
    TimedOut,
    Unknown,
)
from django_bgtasks.store import lifecycle, maintenance
from django_bgtasks.store.lifecycle import Want
from tests.chaos.size import SEED, size
from tests.sample import tasks as sample

# A failure takes long to be made small.
pytestmark = [pytest.mark.django_db, pytest.mark.timeout(600)]

WORKERS = [UUID(int=n) for n in (1, 2)]
ERROR = Error("builtins.ValueError", "ValueError: no", "Traceback ...")
SOON = timedelta(seconds=30)

#: Outcomes with the status that they lead to.
OUTCOMES = [
    (Succeeded(1), "SUCCESSFUL"),
    (Failed(ERROR, None), "FAILED"),
    (Failed(ERROR, SOON), "SCHEDULED"),
    (TimedOut(ERROR, None), "FAILED"),
    (TimedOut(ERROR, SOON), "SCHEDULED"),
    (Lost(ERROR, None), "FAILED"),
    (Lost(ERROR, SOON), "SCHEDULED"),
    (Cancelled(ERROR), "CANCELLED"),
    (Snoozed(SOON), "SCHEDULED"),
    (Unknown(), "SCHEDULED"),
    (Released(), "READY"),
]
FINISHED = {"SUCCESSFUL", "FAILED", "CANCELLED"}
UNCOUNTED = (Snoozed, Unknown, Released)
RECORDED = (Failed, TimedOut, Lost, Cancelled)
DELAYS = {Unknown: lifecycle.UNKNOWN_TASK_DELAY}


@dataclass
class Model:
    """What the row of a job has to say."""

    priority: int
    status: str
    run_after: datetime | None
    attempt: int = 0
    token: int = 0
    worker: UUID | None = None
    last_worker: UUID | None = None
    is_cancelled: bool = False
    finished_at: datetime | None = None
    #: Its Attempt rows.
    recorded: int = 0

    @property
    def is_finished(self):
        return self.status in FINISHED

    def is_success_of(self, worker, job):
        ended = self.status, self.last_worker, self.token
        return ended == ("SUCCESSFUL", worker, job.run_token)

    def end(self, status, now):
        self.status, self.worker, self.finished_at = status, None, now


@seed(SEED)
class Store(RuleBasedStateMachine):
    """Each rule does the same to the rows and to the model."""

    @initialize()
    def begin(self):
        Attempt.objects.all().delete()
        Job.objects.all().delete()
        self.now = timezone.now()
        self.models = {}
        #: What workers believe to run; never forgotten, so that zombies act on it.
        self.claims = []

    # Each rule waits until it can do something, or most of the steps would be idle;
    # and few jobs, to which much happens, show more than many.

    @precondition(lambda self: len(self.models) < 4)
    @rule(priority=st.sampled_from([-5, 0, 7]), delay=st.sampled_from([None, 0, 20]))
    def enqueue(self, priority, delay):
        due = None if delay is None else self.now + timedelta(seconds=delay)
        task = sample.add.using(priority=priority, run_after=due)
        job = lifecycle.job_maker(task, "default", self.now)([1], {})
        lifecycle.enqueue([job])
        self.models[job.pk] = Model(priority, "SCHEDULED" if delay else "READY", due)

    @precondition(lambda self: self.some("READY"))
    @rule(worker=st.sampled_from(WORKERS), limit=st.integers(1, 3))
    def claim(self, worker, limit):
        jobs = lifecycle.claim(worker, Want("default", limit), self.now)
        ready = [pk for pk, model in self.models.items() if model.status == "READY"]
        ready.sort(key=lambda pk: (-self.models[pk].priority, pk))
        assert [job.pk for job in jobs] == ready[:limit]
        for job in jobs:
            model = self.models[job.pk]
            model.status, model.worker, model.last_worker = "RUNNING", worker, worker
            model.attempt += 1
            model.token += 1
            assert (job.attempt, job.run_token) == (model.attempt, model.token)
            self.claims.append((worker, job))

    @precondition(lambda self: self.live_claims())
    @rule(data=st.data())
    def finish(self, data):
        self._finish_some_of(self.live_claims(), data)

    @precondition(lambda self: self.lost_claims())
    @rule(data=st.data())
    def finish_what_is_lost(self, data):
        """As who was taken for dead does, or does not know that it is recorded."""
        self._finish_some_of(self.lost_claims(), data)

    @precondition(lambda self: self.some("RUNNING"))
    @rule(data=st.data(), successor=st.sampled_from(WORKERS))
    def hand_over(self, data, successor):
        """As a supervisor does with those of which one has ended a worker."""
        chosen = data.draw(some_of(list(self.models)))
        models = [self.models[pk] for pk in chosen if self.models[pk].worker]
        (dead, *_) = [model.worker for model in models] or WORKERS
        taken = [model for model in models if model.worker == dead]
        assert lifecycle.hand_over(chosen, dead, successor, self.now) == len(taken)
        for model in taken:
            model.worker = model.last_worker = successor
            model.token += 1
        for job in sorted(lifecycle.running_jobs(successor), key=lambda job: job.pk):
            self.claims.append((successor, job))

    def live_claims(self):
        return [claim for claim in self.claims if self._is_live(*claim)]

    def lost_claims(self):
        return [claim for claim in self.claims if not self._is_live(*claim)]

    def _is_live(self, worker, job):
        model = self.models.get(job.pk)
        return model and (model.worker, model.token) == (worker, job.run_token)

    def _finish_some_of(self, claims, data):
        worker, _ = data.draw(st.sampled_from(claims))
        mine = {job.pk: job for who, job in claims if who == worker}
        chosen = data.draw(some_of(list(mine)))
        ended = [(mine[pk], *data.draw(st.sampled_from(OUTCOMES))) for pk in chosen]
        lost = lifecycle.finish(worker, [end[:2] for end in ended], self.now)
        expected = [job for job, *end in ended if not self._finish(worker, job, *end)]
        assert {job.pk for job in lost} == {job.pk for job in expected}

    def _finish(self, worker, job, outcome, status):
        """Whether the outcome is recorded, now or already."""
        model = self.models.get(job.pk)
        if not self._is_live(worker, job):
            return model is not None and model.is_success_of(worker, job)
        if status not in FINISHED and model.is_cancelled:
            status = "CANCELLED"
        model.end(status, self.now if status in FINISHED else None)
        model.attempt -= isinstance(outcome, UNCOUNTED)
        model.recorded += isinstance(outcome, RECORDED)
        if status == "SCHEDULED":
            model.run_after = self.now + DELAYS.get(type(outcome), SOON)
        return True

    @precondition(lambda self: self.some("SCHEDULED"))
    @rule(seconds=st.sampled_from([15, 40, 40]))
    def wait_and_promote(self, seconds):
        self.now += timedelta(seconds=seconds)
        due = [
            model
            for model in self.models.values()
            if model.status == "SCHEDULED" and model.run_after <= self.now
        ]
        assert maintenance.promote(self.now) == len(due)
        for model in due:
            model.status = "READY"

    @precondition(lambda self: self.some("SCHEDULED", "READY", "RUNNING"))
    @rule(data=st.data())
    def cancel(self, data):
        chosen = data.draw(some_of(list(self.models)))
        counts = lifecycle.cancel(Job.objects.filter(pk__in=chosen), now=self.now)
        models = [self.models[pk] for pk in chosen if not self.models[pk].is_finished]
        expected = Counts(model.status == "RUNNING" for model in models)
        assert counts == (expected[False], expected[True])
        for model in models:
            model.is_cancelled = True
            if model.status != "RUNNING":
                model.end("CANCELLED", self.now)

    @precondition(lambda self: self.some("FAILED", "CANCELLED"))
    @rule(data=st.data())
    def retry(self, data):
        chosen = data.draw(some_of(list(self.models)))
        models = [self.models[pk] for pk in chosen]
        models = [model for model in models if model.status in ("FAILED", "CANCELLED")]
        assert lifecycle.retry(Job.objects.filter(pk__in=chosen)) == len(models)
        for model in models:
            model.status, model.finished_at = "READY", None
            model.is_cancelled = False

    @precondition(lambda self: self.some(*FINISHED))
    @rule(days=st.sampled_from([0, 2, 20]))
    def wait_and_prune(self, days):
        self.now += timedelta(days=days)
        old = [
            pk
            for pk, model in self.models.items()
            if model.is_finished
            and model.finished_at <= self.now - DEFAULT_RETENTION[model.status]
        ]
        assert maintenance.prune(self.now, DEFAULT_RETENTION) == len(old)
        for pk in old:
            del self.models[pk]

    def some(self, *statuses):
        """Whether there are jobs in one of these statuses."""
        return any(model.status in statuses for model in self.models.values())

    @invariant()
    def rows_are_as_the_model_says(self):
        jobs = Job.objects.prefetch_related("attempts")
        assert {job.pk: as_told(job) for job in jobs} == {
            pk: as_expected(model) for pk, model in self.models.items()
        }


def some_of(ids):
    # Not as a set: its order is that of random ids.
    return st.lists(st.sampled_from(ids), min_size=1, max_size=3, unique=True)


def as_told(job):
    return (
        job.status,
        job.attempt,
        job.run_token,
        job.worker,
        job.finished_at,
        job.cancel_requested_at is not None,
        len(job.attempts.all()),
    )


def as_expected(model):
    return (
        model.status,
        model.attempt,
        model.token,
        model.worker,
        model.finished_at,
        model.is_cancelled,
        model.recorded,
    )


def test_the_verbs_do_what_the_model_does():
    run_state_machine_as_test(
        Store,
        settings=settings(
            max_examples=size(12, 2000),
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
