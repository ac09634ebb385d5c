"""What must hold once a storm is over and all that was left has been run."""

from collections import Counter as Counts
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from django.forms.models import model_to_dict

from django_bgtasks.models import Job, Worker
from tests.chaos.app import tasks
from tests.chaos.app.models import Counter, Outcome
from tests.chaos.size import SEED

#: Statuses in which jobs of a task may end; for those not named here, success alone.
ENDS = {
    tasks.fail.path: {"FAILED"},
    tasks.take_the_process_down.path: {"FAILED"},
    tasks.overrun.path: {"FAILED"},
    tasks.be_stubborn.path: {"FAILED"},
    tasks.run_once.path: {"SUCCESSFUL", "FAILED"},
}
#: And how attempts of theirs may end besides, whatever befalls their worker.
MISHAPS = {"LOST", "CANCELLED"}
ENDINGS = {
    tasks.fail.path: {"FAILED"},
    tasks.fail_at_first.path: {"FAILED"},
    # It uses the database, which may be in trouble.
    tasks.count.path: {"FAILED"},
    tasks.overrun.path: {"TIMED_OUT"},
    tasks.be_stubborn.path: {"TIMED_OUT"},
}
#: Tasks whose success is counted by a row.
COUNTING = {tasks.count.path, tasks.count_and_wait.path}
#: Stories that a failure tells.
STORIES = 3


class Fault(NamedTuple):
    """Something that must not be; about a job, or about none."""

    job: object
    what: str


class Aftermath:
    """The rows, the audit, the load and what the hosts have said, side by side."""

    def __init__(self, audit, load, hosts):
        self.audit = audit
        self.load = load
        self.hosts = hosts
        jobs = Job.objects.prefetch_related("attempts")
        self.jobs = {job.pk: job for job in jobs}
        self.attempts = [a for job in self.jobs.values() for a in job.attempts.all()]
        #: By job: how often an outcome was written to its row.
        self.outcomes = Counts(Outcome.objects.values_list("job", flat=True))

    @cached_property
    def runs(self):
        return self.audit.runs()

    @cached_property
    def strikes(self):
        return self.audit.strikes()

    @cached_property
    def last_signs_of_life(self):
        return self.audit.last_signs_of_life()

    @cached_property
    def pids(self):
        """Of workers, as far as they have begun anything."""
        return {run.worker: run.pid for runs in self.runs.values() for run in runs}

    def endings(self, pk):
        """How its attempts have ended."""
        return [attempt.ending for attempt in self.jobs[pk].attempts.all()]

    def was_struck(self, worker):
        """Whether anything befell its process; its own job's deeds do not count."""
        pid = self.pids.get(str(worker))
        # One that has begun nothing is not known by its process.
        return bool(self.strikes) if pid is None else pid in self.strikes

    def runs_of(self, pk):
        return self.runs.get(str(pk), [])

    def live_until(self, run):
        """Until when its process surely held on to the claim."""
        # Even if it began afterwards: one that was frozen may have claimed it before.
        strikes = self.strikes[run.pid]
        # Without an end, its process died on the way, nobody can say when.
        end = run.ended or self.last_signs_of_life[run.worker]
        return min([end, *strikes])

    def figures(self):
        """What the storm has come to, in numbers."""
        runs = [run for pk in self.jobs for run in self.runs_of(pk)]
        returned = Counts(run.job for run in runs if run.how == "returned")
        statuses = Counts(job.status for job in self.jobs.values())
        endings = Counts(attempt.ending for attempt in self.attempts)
        return {
            "processes killed, frozen or cut off": sum(map(len, self.strikes.values())),
            "jobs enqueued and rolled back": len(self.load.rolled_back),
            "jobs that have ended": sum(pk in self.outcomes for pk in self.jobs),
            "of them cancelled": statuses["CANCELLED"],
            "attempts lost with their worker": endings["LOST"],
            "attempts over their time limit": endings["TIMED_OUT"],
            "bodies begun": len(runs),
            "bodies cut short": sum(run.ended is None for run in runs),
            "bodies run to their end once more": returned.total() - len(returned),
            "jobs lost": sum(pk not in self.outcomes for pk in self.load.committed),
            "jobs with two outcomes": sum(n > 1 for n in self.outcomes.values()),
        }

    def check(self):
        """Fail with the stories of the jobs to blame, if there are any."""
        faults = [fault for invariant in INVARIANTS for fault in invariant(self)]
        assert not faults, self._report(faults)

    def _report(self, faults):
        kinds = Counts(fault.what for fault in faults)
        jobs = list(dict.fromkeys(fault.job for fault in faults if fault.job))
        return "\n\n".join(
            [
                f"CHAOS_SEED={SEED}",
                "\n".join(f"{times} times: {what}" for what, times in kinds.items()),
                *map(self.story, jobs[:STORIES]),
            ]
        )

    def story(self, pk):
        """All that is known of a job."""
        job = self.jobs.get(pk)
        outcomes = Outcome.objects.filter(job=pk)
        rows = [] if job is None else [job, *job.attempts.all(), *outcomes]
        lines = [
            f"The story of {pk}:",
            *(str({"id": row.pk, **model_to_dict(row)}) for row in rows),
            *self.audit.story(str(pk)),
            *(line for host in self.hosts for line in host.lines_about(str(pk))),
        ]
        return "\n    ".join(lines)


def every_committed_job_is_there(aftermath):
    for pk in aftermath.load.committed - aftermath.jobs.keys():
        yield Fault(pk, "was committed, and has no row")


def what_was_rolled_back_never_was(aftermath):
    for pk in aftermath.load.rolled_back:
        if pk in aftermath.jobs or aftermath.runs_of(pk):
            yield Fault(pk, "was rolled back, and is there")


def every_job_has_ended_as_it_should(aftermath):
    for pk, job in aftermath.jobs.items():
        ends = ENDS.get(job.task, {"SUCCESSFUL"})
        if pk in aftermath.load.cancelled:
            ends = {*ends, "CANCELLED"}
        if job.status not in ends:
            yield Fault(pk, f"{job.task} is {job.status}")
        if job.worker is not None or job.finished_at is None:
            yield Fault(pk, "has ended, and its row still says otherwise")


def every_outcome_was_written_once(aftermath):
    for pk in aftermath.jobs:
        if (times := aftermath.outcomes[pk]) != 1:
            yield Fault(pk, f"had an outcome written {times} times")


def every_attempt_ended_as_it_may(aftermath):
    for pk, job in aftermath.jobs.items():
        if set(aftermath.endings(pk)) - ENDINGS.get(job.task, set()) - MISHAPS:
            yield Fault(pk, f"{job.task} has had attempts that end as they cannot")


def what_was_cancelled_does_not_begin(aftermath):
    """If it was waiting: then it had ended at that moment."""
    for pk, moment in aftermath.load.cancelled.items():
        job = aftermath.jobs[pk]
        was_waiting = job.finished_at == job.cancel_requested_at
        begins = [run.began for run in aftermath.runs_of(pk)]
        if was_waiting and any(began > moment for began in begins):
            yield Fault(pk, "began after it was cancelled")


def what_must_not_be_lost_twice_fails_at_once(aftermath):
    for pk, job in aftermath.jobs.items():
        if job.on_lost == "fail" and job.status != "CANCELLED":
            lost = {"FAILED": ["LOST"], "SUCCESSFUL": []}[job.status]
            if aftermath.endings(pk) != lost:
                yield Fault(pk, "is to fail when it is lost, then and only then")


def nobody_loses_jobs_for_nothing(aftermath):
    for attempt in aftermath.attempts:
        job = aftermath.jobs[attempt.job_id]
        is_to_blame = job.task == tasks.take_the_process_down.path
        is_lost = attempt.ending == "LOST" and not is_to_blame
        if is_lost and not aftermath.was_struck(attempt.worker):
            yield Fault(job.pk, "was taken from a worker to which nothing happened")


def workers_keep_to_their_queues(aftermath):
    queues = {pid: of for host in aftermath.hosts for pid, of in host.queues.items()}
    for pk, job in aftermath.jobs.items():
        for run in aftermath.runs_of(pk):
            if not {job.queue, "all"} & set(queues.get(run.pid, ["all"])):
                yield Fault(pk, "ran where nobody works on its queue")


def every_attempt_is_recorded_once(aftermath):
    for pk, job in aftermath.jobs.items():
        failed = job.attempt - (job.status == "SUCCESSFUL")
        numbers = [attempt.number for attempt in job.attempts.all()]
        if sorted(numbers) != list(range(1, failed + 1)):
            yield Fault(pk, "has attempts that are missing or recorded twice")
        if job.attempt > job.max_attempts:
            yield Fault(pk, "has had more attempts than it may have")


def every_job_ran_and_its_last_claim_decided(aftermath):
    for pk, job in aftermath.jobs.items():
        last = [run for run in aftermath.runs_of(pk) if run.token == job.run_token]
        if job.status == "SUCCESSFUL" and [run.how for run in last] != ["returned"]:
            yield Fault(pk, "is SUCCESSFUL, and its last claim has not returned")


def every_claim_ran_once(aftermath):
    for pk in aftermath.jobs:
        tokens = [run.token for run in aftermath.runs_of(pk)]
        if len(set(tokens)) < len(tokens):
            yield Fault(pk, "ran twice by one claim")


def nothing_ran_after_the_end(aftermath):
    for pk, job in aftermath.jobs.items():
        if any(run.token > job.run_token for run in aftermath.runs_of(pk)):
            yield Fault(pk, "ran by a claim that its row knows nothing of")


def no_two_live_claims_overlap(aftermath):
    for pk in aftermath.jobs:
        # By claim: who was taken for dead may begin an old one late.
        runs = sorted(aftermath.runs_of(pk), key=lambda run: run.token)
        for one, next_one in pairwise(runs):
            if aftermath.live_until(one) > next_one.began:
                yield Fault(pk, "ran twice at the same time")


def everybody_who_ran_had_a_row(aftermath):
    for job in aftermath.runs.keys() - {str(pk) for pk in aftermath.jobs}:
        yield Fault(job, "ran, and has no row")


def no_worker_is_left(aftermath):
    for worker in Worker.objects.all():
        yield Fault(None, f"the row of worker {worker} is left")


def counters_are_exact(aftermath):
    done = Counts(
        job.args[0]
        for job in aftermath.jobs.values()
        if job.task in COUNTING and job.status == "SUCCESSFUL"
    )
    counted = {counter.name: counter.value for counter in Counter.objects.all()}
    for name, value in counted.items():
        if value != done[name]:
            yield Fault(None, f"{name} was counted {value} times, not {done[name]}")


INVARIANTS = [
    every_committed_job_is_there,
    what_was_rolled_back_never_was,
    every_job_has_ended_as_it_should,
    every_outcome_was_written_once,
    every_attempt_ended_as_it_may,
    what_was_cancelled_does_not_begin,
    what_must_not_be_lost_twice_fails_at_once,
    nobody_loses_jobs_for_nothing,
    workers_keep_to_their_queues,
    every_attempt_is_recorded_once,
    every_job_ran_and_its_last_claim_decided,
    every_claim_ran_once,
    nothing_ran_after_the_end,
    no_two_live_claims_overlap,
    everybody_who_ran_had_a_row,
    no_worker_is_left,
    counters_are_exact,
]
