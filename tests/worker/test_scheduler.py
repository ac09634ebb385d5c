"""The scheduler's loop, and the same beside a worker's work."""

import logging
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import OperationalError
from django.test import override_settings

from django_bgtasks._framework import task_enqueued
from django_bgtasks.models import Job, Schedule
from django_bgtasks.periodic import declared
from django_bgtasks.store import schedules
from django_bgtasks.store.engines import get_engine
from django_bgtasks.worker.clock import Clock
from django_bgtasks.worker.options import WorkerOptions
from django_bgtasks.worker.scheduler import Scheduler
from django_bgtasks.worker.worker import Worker
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db(transaction=True)

EVERY_TEN_SECONDS = {"task": sample.add.path, "args": [1], "every": 10}
PERIODIC = {**settings.BGTASKS["PERIODIC"], "tens": EVERY_TEN_SECONDS}


@pytest.fixture
def clock(time):
    # At five seconds past ten of them, whatever the time is; not in the past.
    began = get_engine().now() + timedelta(minutes=1)
    began = began.replace(second=5, microsecond=0)
    return Clock(lambda: began + timedelta(seconds=time.seconds), time)


@pytest.fixture
def scheduler(clock):
    """A scheduler that the test drives by hand, with a schedule in settings."""
    scheduler = Scheduler(clock=clock)
    with override_settings(BGTASKS={"PERIODIC": PERIODIC}):
        scheduler.start()
        yield scheduler
    scheduler._bell.close()


def rest(scheduler):
    return scheduler._scheduling.timer.rest


def test_it_wakes_up_for_the_next_tick(scheduler, time):
    scheduler.tick()
    with override_settings(BGTASKS={"POLL_INTERVAL": 60}):
        assert rest(scheduler) <= 0.5, "somebody may change a schedule"
    time.advance(4.75)
    assert scheduler.tick() == 0
    assert rest(scheduler) == pytest.approx(0.25), "not later than the tick"
    time.advance(0.25)
    assert scheduler.tick() == 1
    assert Job.objects.count() == 1
    assert rest(scheduler) <= 0, "there may be more"
    assert scheduler.tick() == 0


def test_what_settings_declare_is_in_the_table(scheduler):
    row = Schedule.objects.get()
    assert (row.pk, row.source, row.every) == (
        "tens",
        "settings",
        timedelta(seconds=10),
    )


def test_a_new_schedule_is_taken_up_within_a_second(scheduler, clock, time):
    scheduler.tick()
    Schedule.objects.filter(pk="tens").delete()
    Schedule.objects.create(
        name="new", task=sample.add.path, args=[1], cron="* * * * *"
    )
    time.advance(0.99)
    scheduler.catch_up()
    assert Schedule.objects.get().planned_by


def test_a_stop_ends_the_wait(scheduler):
    scheduler.tick()
    scheduler.stop()
    scheduler.wait()
    assert scheduler._stopping


def test_problems_are_told_once_and_when_they_are_over(scheduler, time, caplog):
    caplog.set_level(logging.INFO, "django_bgtasks")
    Schedule.objects.filter(pk="tens").update(task="gone.away")
    time.advance(5)
    scheduler.catch_up()
    time.advance(30)
    scheduler.catch_up()
    assert caplog.text.count("The schedule tens is passed over: task is") == 1
    Schedule.objects.filter(pk="tens").update(task=sample.add.path)
    time.advance(31)
    scheduler.catch_up()
    assert "The schedule tens has no problem any more" in caplog.text
    assert Job.objects.count() == 1, "the latest of those that were missed"


def test_a_wrong_declaration_is_told_and_the_others_are_there(clock, caplog):
    periodic = {**PERIODIC, "wrong": {"task": sample.add.path, "cron": "x"}}
    with override_settings(BGTASKS={"PERIODIC": periodic}):
        Scheduler(once=True, clock=clock).run()
    assert "The schedule wrong is passed over: cron is 'x'" in caplog.text
    assert list(Schedule.objects.values_list("pk", flat=True)) == ["tens"]


def test_each_job_is_told(scheduler, time, caplog):
    caplog.set_level(logging.INFO, "django_bgtasks")
    time.advance(5)
    scheduler.catch_up()
    job = Job.objects.get()
    assert f"tens is due: {sample.add.path} {job.pk}" in caplog.text


def test_skipped_and_missed_ticks_are_told(scheduler, time, caplog):
    caplog.set_level(logging.INFO, "django_bgtasks")
    Schedule.objects.update(overlap="skip")
    time.advance(5)
    scheduler.catch_up()
    time.advance(10)
    scheduler.catch_up()
    assert "tens is due, but its last job is not finished" in caplog.text
    Job.objects.all().delete()
    time.advance(40)
    scheduler.catch_up()
    assert "tens has missed runs" in caplog.text


def test_django_is_told_of_each_job(scheduler, time):
    heard = []

    def hear(*, task_result, **kwargs):
        heard.append((task_result.id, task_result.task.path, task_result.args))
        raise ValueError("a receiver may fail")

    task_enqueued.connect(hear)
    try:
        time.advance(5)
        scheduler.catch_up()
    finally:
        task_enqueued.disconnect(hear)
    job = Job.objects.get()
    assert heard == [(str(job.pk), sample.add.path, [1])]


def test_once_deals_with_all_that_is_due_and_ends(clock, time, monkeypatch):
    monkeypatch.setattr(schedules, "BATCH", 2)
    for n in range(5):
        schedule = Schedule(
            name=f"{n}", task=sample.add.path, args=[1], every=timedelta(seconds=9)
        )
        schedules.save(schedule, clock._source() - timedelta(seconds=20))
    with override_settings(BGTASKS={"PERIODIC": {}}):
        Scheduler(once=True, clock=clock).run()
    assert Job.objects.count() == 5


def test_trouble_with_the_database_is_told_once_and_survived(
    scheduler, time, monkeypatch, caplog
):
    caplog.set_level(logging.INFO, "django_bgtasks")
    as_it_is, failures = scheduler.tick, iter(range(3))

    def tick():
        if next(failures, None) is not None:
            raise OperationalError("server closed the connection")
        time.advance(5)
        as_it_is()
        scheduler.stop()

    monkeypatch.setattr(scheduler, "tick", tick)
    monkeypatch.setattr(scheduler._trouble, "_wait", time.advance)
    monkeypatch.setattr(scheduler, "start", lambda: None)
    scheduler.run()
    assert caplog.text.count("The database is in trouble") == 1
    assert caplog.text.count("The database answers again") == 1
    assert Job.objects.count() == 1


def test_it_goes_on_with_a_connection_that_is_set_up(scheduler, time, monkeypatch):
    done, tick, prepare = [], scheduler.tick, get_engine().prepare

    def break_at_first():
        done.append("tick")
        if len(done) == 1:
            raise OperationalError("server closed the connection")
        scheduler.stop()
        tick()

    def fail_at_first():
        done.append("prepare")
        if done.count("prepare") == 1:
            raise OperationalError("connection refused")
        prepare()

    monkeypatch.setattr(scheduler, "tick", break_at_first)
    monkeypatch.setattr(type(get_engine()), "prepare", lambda _: fail_at_first())
    monkeypatch.setattr(scheduler._trouble, "_wait", time.advance)
    monkeypatch.setattr(scheduler, "start", lambda: None)
    scheduler.run()
    assert done == ["tick", "prepare", "prepare", "tick"]


def test_a_worker_does_it_beside_its_work(clock, time):
    worker = Worker(WorkerOptions(threads=1, schedules=True), clock)
    with override_settings(BGTASKS={"PERIODIC": PERIODIC}), worker._ears:
        worker.start()
        worker.tick()
        assert worker._chores.rest <= 5
        time.advance(5)
        while not Job.objects.successful().exists():
            worker.tick()
            worker.wait(0.01)
        worker.stop()
        time.advance(10)
        worker.tick()
        worker.shut_down()
        worker.close()
    assert Job.objects.count() == 1, "who is stopping makes no new jobs"


def test_a_worker_without_does_not(clock, time, worker):
    Schedule.objects.create(
        name="a", task=sample.add.path, args=[1], every=timedelta(seconds=1)
    )
    for _ in range(5):
        time.advance(5)
        worker.tick()
    assert not Job.objects.exists()


@pytest.mark.parametrize("task", [sample.leave_its_tick, sample.aleave_its_tick])
def test_the_job_knows_its_tick(task, drain, tmp_path):
    now = get_engine().now()
    schedule = Schedule(
        name="a", task=task.path, args=[str(tmp_path / "log")], every=timedelta(hours=1)
    )
    schedules.save(schedule, now - timedelta(hours=1))
    schedules.enqueue_due(now)
    schedules.run_now("a")
    task(str(tmp_path / "log"))
    drain(threads=1)
    tick = Job.objects.get(scheduled_for__isnull=False).scheduled_for
    lines = (tmp_path / "log").read_text().split("\n")
    assert lines == [str(tick), "None", "None", ""]


def test_old_jobs_are_pruned_by_a_periodic_job(drain):
    old = get_engine().now() - timedelta(days=30)
    sample.add(1)
    drain()
    Job.objects.update(finished_at=old)
    with override_settings(BGTASKS={"PERIODIC": {"django_bgtasks.roll_up": None}}):
        schedules.sync(declared(), old)
    assert len(schedules.enqueue_due(get_engine().now()).jobs) == 1
    drain()
    job = Job.objects.get()
    assert (job.task, job.status, job.result) == (
        "django_bgtasks.prune",
        "SUCCESSFUL",
        1,
    )
