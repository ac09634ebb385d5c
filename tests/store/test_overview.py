from datetime import timedelta

import pytest
from django.db.models.sql.compiler import SQLCompiler
from django.utils import timezone

from django_bgtasks.models import Queue, Schedule
from django_bgtasks.store import queues
from django_bgtasks.store.health import Thresholds, complaints
from django_bgtasks.store.overview import overview, running_jobs
from tests.factories import (
    living_worker,
    make_finished,
    make_job,
    make_jobs,
    make_running,
)

pytestmark = pytest.mark.django_db

NOW = timezone.now().replace(microsecond=0)
MINUTE = timedelta(minutes=1)


def ago(minutes):
    return NOW - minutes * MINUTE


def of_queues(**options):
    return {queue.name: queue for queue in overview(NOW, **options).queues}


def schedule(name, **columns):
    return Schedule.objects.create(name=name, task="t", every=MINUTE, **columns)


# -- queues


def test_the_numbers_of_each_queue():
    make_job(queue="mail", enqueued_at=ago(9))
    make_job(queue="mail", enqueued_at=ago(30), run_after=ago(4))
    make_job(queue="mail", status="SCHEDULED", run_after=NOW + MINUTE)
    make_running(queue="mail")
    make_finished("FAILED", ago(59), queue="mail")
    make_finished("FAILED", ago(61), queue="mail")
    make_finished("SUCCESSFUL", NOW, queue="mail")
    make_finished("FAILED", NOW, queue="slow")
    make_finished("CANCELLED", NOW, queue="history")
    found = of_queues()
    assert list(found) == ["mail", "slow"]
    mail, slow = found.values()
    assert (mail.waiting, mail.scheduled, mail.running, mail.failed) == (2, 1, 1, 1)
    assert mail.oldest_due == ago(9)
    assert not mail.capped
    assert (slow.waiting, slow.oldest_due, slow.failed) == (0, None, 1)


def test_what_is_due_waits_even_if_nobody_is_there_to_make_it_ready():
    make_job(status="SCHEDULED", run_after=ago(5), enqueued_at=ago(60))
    (queue,) = of_queues().values()
    assert (queue.waiting, queue.scheduled, queue.oldest_due) == (1, 0, ago(5))


def test_a_paused_queue_is_there_and_its_jobs_count():
    queues.pause("mail", ago(1))
    queues.pause("empty", ago(1))
    make_job(queue="mail")
    found = of_queues()
    assert list(found) == ["empty", "mail"]
    assert (found["mail"].paused_at, found["mail"].waiting) == (ago(1), 1)
    assert found["empty"].waiting == 0


def test_counts_end_at_the_limit():
    make_jobs(4, queue="a")
    make_jobs(3, queue="b")
    make_jobs(2, queue="a", status="FAILED", finished_at=NOW)
    make_jobs(2, queue="b", status="FAILED", finished_at=NOW)
    found = of_queues(limit=3)
    assert (found["a"].waiting, found["b"].waiting) == (3, 3)
    # Of all failures three were counted, and there may be more on each queue.
    assert found["a"].failed + found["b"].failed in (3, 4)
    assert found["a"].capped == ("failed", "waiting")
    assert found["b"].capped == ("failed",)


def test_a_starving_job_is_seen_behind_all_that_are_counted():
    make_job(priority=-5, enqueued_at=ago(90))
    make_jobs(5, priority=3, enqueued_at=ago(1))
    (queue,) = of_queues(limit=2).values()
    assert queue.oldest_due == ago(90)


@pytest.mark.parametrize("count", [0, 3, 40])
def test_many_queues_take_no_more_queries(count, django_assert_num_queries):
    make_jobs(count, queue_of=lambda n: f"q{n}")
    for n in range(count):
        make_running(queue=f"q{n}", worker=living_worker().pk)
        schedule(f"s{n}")
    # Queues with jobs, their rows, the counts; running jobs, workers, schedules.
    with django_assert_num_queries(6):
        overview(NOW)


def test_many_queues_do_not_fit_into_one_statement():
    make_jobs(250, queue_of=lambda n: f"q{n}")
    found = of_queues()
    assert len(found) == 250
    assert {queue.waiting for queue in found.values()} == {1}


# -- workers and schedules


def test_workers():
    live = living_worker(hostname="a", queues=["mail"], heartbeat_at=ago(0.5))
    living_worker(hostname="b", heartbeat_at=ago(1))
    make_running(live.pk)
    make_running(live.pk, queue="mail")
    first, second = overview(NOW).workers
    assert (first.hostname, first.queues, first.running) == ("a", ("mail",), 2)
    assert (first.is_live, second.is_live) == (True, False)


def test_schedules():
    schedule("fine", next_due=ago(4))
    schedule("late", next_due=ago(5))
    schedule("paused", next_due=ago(5), paused_at=ago(9))
    schedule("broken", next_due=ago(5), problem="No such task.")
    schedule("over", next_due=None)
    found = {s.name: s for s in overview(NOW).schedules}
    assert [name for name, s in found.items() if s.is_late] == ["late"]
    assert found["broken"].problem == "No such task."
    assert found["paused"].paused_at == ago(9)


def test_what_workers_are_at(django_assert_num_queries):
    some, other, idle = (living_worker().pk for _ in range(3))
    jobs = [make_running(some) for _ in range(4)]
    theirs = make_running(other)
    make_running()
    with django_assert_num_queries(2):
        found = running_jobs([some, other, idle], 3)
    assert found == {some: jobs[:3], other: [theirs]}
    assert running_jobs([], 3) == {}


def test_what_workers_say_of_themselves():
    living_worker(version="1.2", memory=10**10, instruction="quiet", started_at=ago(9))
    (worker,) = overview(NOW).workers
    assert (worker.version, worker.memory) == ("1.2", 10**10)
    assert (worker.instruction, worker.started_at) == ("quiet", ago(9))


def test_only_the_schedules_that_were_asked_for():
    schedule("a")
    assert overview(NOW, schedules=[]).schedules == ()
    rows = [schedule("b", next_due=ago(9))]
    (found,) = overview(NOW, schedules=rows).schedules
    assert (found.name, found.is_late) == ("b", True)


def test_when_a_queue_resumes():
    Queue.objects.create(name="mail", paused_at=ago(1), resume_at=NOW + MINUTE)
    assert of_queues()["mail"].resume_at == NOW + MINUTE


# -- whether all is well


def wrong(**thresholds):
    limits = Thresholds(**thresholds)
    return complaints(overview(NOW, limits.count_limit), limits)


def test_all_is_well():
    assert wrong() == []
    living_worker(heartbeat_at=NOW)
    make_job()
    schedule("fine", next_due=NOW)
    assert wrong(max_age=MINUTE, max_waiting=1, max_failed=0, min_workers=1) == []


def test_jobs_wait_for_nobody():
    living_worker(heartbeat_at=NOW, queues=["slow"])
    living_worker(heartbeat_at=ago(1))
    make_job(queue="mail")
    make_job(queue="slow")
    assert wrong() == ["Jobs wait on queue mail, and no live worker works on it."]
    queues.pause("mail", NOW)
    assert wrong() == []


def test_too_old_too_many_too_few():
    living_worker(heartbeat_at=NOW)
    make_job(queue="mail", enqueued_at=ago(2))
    make_job(queue="mail", enqueued_at=ago(3))
    make_finished("FAILED", NOW, queue="mail")
    queues.pause("mail", ago(1))
    found = wrong(max_age=MINUTE, max_waiting=1, max_failed=0, min_workers=2)
    assert [text.partition(" It has been paused since ")[0] for text in found] == [
        "Live workers: 1; there should be at least 2.",
        "A job on queue mail has waited for 3 min, longer than 1 min.",
        "More than 1 jobs wait on queue mail.",
        "More than 0 jobs of queue mail failed within an hour.",
    ]
    assert "paused since" in found[1]
    assert wrong(max_age=3 * MINUTE, max_waiting=2, max_failed=1, min_workers=1) == []


def test_a_threshold_may_be_above_what_is_counted_otherwise():
    assert Thresholds(max_waiting=20_000).count_limit == 20_001
    assert Thresholds().count_limit == 10_000


def test_schedules_that_do_not_run():
    schedule("broken", problem="No such task.")
    schedule("late", next_due=ago(7))
    assert wrong() == [
        "Schedule broken has a problem: No such task.",
        "Schedule late has been due for 7 min: is a worker or a scheduler running?",
    ]


def test_more_queues_are_not_more_work_for_the_orm(monkeypatch):
    written = []
    as_sql = SQLCompiler.as_sql

    def counted(self, *args, **kwargs):
        written.append(self)
        return as_sql(self, *args, **kwargs)

    monkeypatch.setattr(SQLCompiler, "as_sql", counted)

    def queries():
        written.clear()
        overview()
        return len(written)

    make_job(queue="one")
    before = queries()
    make_jobs(30, queue_of=lambda n: f"number {n}")
    assert queries() == before
    assert {queue.waiting for queue in overview().queues} == {1}
