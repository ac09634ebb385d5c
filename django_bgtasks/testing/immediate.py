"""Running jobs where they are enqueued, in a test."""

from __future__ import annotations

from contextlib import closing, suppress

from django.test.utils import TestContextDecorator

from django_bgtasks import timing
from django_bgtasks.models import Job
from django_bgtasks.store import lifecycle
from django_bgtasks.testing import listening
from django_bgtasks.testing.inline import Runner


class immediate_jobs(TestContextDecorator):  # noqa: N801 (named as Django names these: override_settings)
    """Run each job before the call returns that enqueues it.

    A context manager, and a decorator of tests, ``async`` ones too, and of classes of
    them. A job that a task enqueues runs in the middle of that task. Each job gets
    one attempt: what is delayed, or to be tried again, is left to ``run_jobs``, and so
    are jobs on a paused queue. Rows are written as ever, and the result that the call
    returns is that of the finished job.

    Args:
        raise_errors: False: what tasks raise is only recorded. Else it is also raised
            where the job was enqueued, as by ``run_jobs``.
    """

    def __init__(self, *, raise_errors: bool = True) -> None:
        super().__init__()
        self._raises = raise_errors

    def enable(self) -> None:
        listening.run(self._run)

    def disable(self) -> None:
        listening.stop(self._run)

    def _run(self, job: Job) -> None:
        with closing(Runner()) as runner:
            claimed = lifecycle.claim_this(job, runner.worker, timing.now())
            if claimed is None:
                return
            run = runner.run(claimed)
        # A row that is not kept has nothing more to say.
        with suppress(Job.DoesNotExist):
            job.refresh_from_db()
        run.raise_error(all_errors=self._raises)
