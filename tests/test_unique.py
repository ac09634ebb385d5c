"""Unique jobs: one for each key, whoever enqueues, and however many do."""

import threading
import uuid
from datetime import date, timedelta

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.utils import timezone

from django_bgtasks import AlreadyEnqueued, NotJSON, enqueue_many
from django_bgtasks._framework import InvalidTask, task_enqueued
from django_bgtasks.models import Job, Schedule
from django_bgtasks.outcomes import Error, Failed, Succeeded
from django_bgtasks.store import admission, lifecycle, maintenance, schedules
from django_bgtasks.store.engines import base, get_engine
from django_bgtasks.store.engines.base import Engine, Want
from tests.factories import in_thread
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)
ERROR = Error("builtins.ValueError", "ValueError: no", "Traceback ...")
WORKER = uuid.uuid4()

once = sample.add.using(unique=True)


def claim():
    return lifecycle.claim(WORKER, Want("default", 100), timezone.now())


def finish(jobs, outcome):
    assert not lifecycle.finish(WORKER, [(j, outcome) for j in jobs], timezone.now())


# -- what is the same


def test_the_same_call_is_enqueued_once():
    first = once(1)
    second = once(1)
    assert not first.was_deduplicated
    assert second.was_deduplicated
    assert second.id == first.id
    assert Job.objects.count() == 1


@pytest.mark.parametrize(
    ("task", "same", "others"),
    [
        (once, [((1,), {}), ((), {"a": 1}), ((1, 0), {}), ((1,), {"b": 0})], [(2,)]),
        (
            once,
            [(([1, {"x": 2, "y": 3}],), {}), (([1, {"y": 3, "x": 2}],), {})],
            [([1],)],
        ),
        (
            sample.add.using(unique=("a",)),
            [((1, 1), {}), ((1, 2), {})],
            [(2, 1)],
        ),
        (
            sample.add.using(unique=lambda a, b=0: (a + b) % 10),
            [((1, 2), {}), ((13,), {})],
            [(4,)],
        ),
    ],
)
def test_what_counts_as_the_same(task, same, others):
    ids = {task.enqueue(*args, **kwargs).id for args, kwargs in same}
    assert len(ids) == 1
    assert len(ids | {task.enqueue(*args).id for args in others}) == 2


def test_another_task_with_the_same_arguments_is_another_job():
    once(1)
    sample.aadd.using(unique=True)(1)
    assert Job.objects.count() == 2


def test_a_function_may_say_that_a_call_is_like_no_other():
    task = sample.add.using(unique=lambda a, b=0: None)
    assert task(1).id != task(1).id


def test_keywords_that_the_function_collects_count_too():
    task = sample.take_anything.using(unique=("user",))
    assert task(1, user=5).id == task(2, user=5, more=1).id
    assert task(1, user=6).id != task(1, user=5).id


def test_a_call_can_be_an_exception():
    first = once(1)
    assert once.using(unique=False)(1).id != first.id


def test_what_a_function_returns_must_be_json():
    with pytest.raises(NotJSON, match=r"what unique\(\) returned is an object"):
        sample.add.using(unique=lambda a: object())(1)
    assert not Job.objects.exists()


# -- until when


@pytest.mark.parametrize("outcome", [Succeeded(1), Failed(ERROR, None)])
def test_by_default_until_it_is_finished(outcome):
    first = once(1)
    claimed = claim()
    assert once(1).id == first.id
    finish(claimed, outcome)
    assert once(1).id != first.id


def test_while_it_is_tried_again_there_is_no_other():
    first = once(1)
    finish(claim(), Failed(ERROR, HOUR))
    assert once(1).id == first.id


def test_until_it_is_started():
    task = sample.add.using(unique=True, unique_until="started")
    first = task(1)
    assert task(1).id == first.id
    claim()
    assert task(1).id != first.id


def test_for_a_period_though_it_has_succeeded(monkeypatch):
    task = sample.add.using(unique=True, unique_until=HOUR)
    first = task(1)
    finish(claim(), Succeeded(5))
    second = task(1)
    assert (second.id, second.return_value) == (first.id, 5)
    move_time(monkeypatch, HOUR)
    assert task(1).id != first.id
    assert Job.objects.filter(unique_key__isnull=False).count() == 1


def test_for_a_period_also_if_it_takes_longer(monkeypatch):
    task = sample.add.using(unique=True, unique_until=60)
    first = task(1)
    claim()
    move_time(monkeypatch, HOUR)
    assert task(1).id != first.id


def test_a_period_ends_with_failure():
    task = sample.add.using(unique=True, unique_until=HOUR)
    first = task(1)
    finish(claim(), Failed(ERROR, None))
    assert task(1).id != first.id


def test_the_row_of_a_period_is_kept_until_its_end():
    task = sample.add.using(unique=True, unique_until=2 * HOUR)
    task(1)
    finish(claim(), Succeeded())
    everything = {"SUCCESSFUL": timedelta(0)}
    assert maintenance.prune(timezone.now() + HOUR, everything) == 0
    assert maintenance.prune(timezone.now() + 3 * HOUR, everything) == 1


def test_cancelling_makes_room():
    first = once(1)
    first.cancel()
    assert once(1).id != first.id


def test_a_job_that_is_retried_by_hand_is_in_nobodys_way():
    first = once(1)
    first.cancel()
    second = once(1)
    assert Job.objects.filter(pk=first.id).retry() == 1
    assert once(1).id == second.id


# -- on conflict


def test_raise():
    task = sample.add.using(unique=True, on_conflict="raise")
    first = task(1)
    with pytest.raises(
        AlreadyEnqueued, match=f"add is enqueued already, as job {first.id}"
    ) as e:
        task(1)
    assert e.value.job_id == first.id


def test_replace_gives_the_waiting_job_new_arguments_and_time():
    task = sample.add.using(unique=("a",), on_conflict="replace")
    later = timezone.now() + HOUR
    first = task.using(run_after=later).enqueue(1, 1)
    second = task.using(priority=7).enqueue(1, 2)
    assert second.was_deduplicated
    assert (second.id, second.args) == (first.id, [1, 2])
    (job,) = Job.objects.all()
    assert (job.args, job.status, job.run_after) == ([1, 2], "READY", None)
    assert (job.priority, job.max_attempts) == (7, 3)


def test_replace_gives_a_job_that_has_failed_all_its_attempts_again():
    task = sample.add.using(
        unique=("a",), on_conflict="replace", unique_until="finished"
    )
    task(1, 1)
    finish(claim(), Failed(ERROR, HOUR))
    task(1, 2)
    (job,) = Job.objects.all()
    assert (job.attempt, job.max_attempts, job.args) == (1, 4, [1, 2])


def test_what_is_to_replace_a_job_that_runs_comes_after_it():
    task = sample.add.using(unique=("a",), on_conflict="replace")
    first = task(1, 1)
    claim()
    second, third = task(1, 2), task(1, 3)
    assert second.id == third.id != first.id
    assert Job.objects.get(pk=second.id).args == [1, 3]


def test_a_job_that_runs_is_not_changed():
    task = sample.add.using(
        unique=("a",), on_conflict="replace", unique_until="finished"
    )
    first = task(1, 1)
    claim()
    second = task(1, 2)
    assert second.was_deduplicated
    assert (second.id, second.args) == (first.id, [1, 1])


def test_debounce_pushes_the_time_back_and_leaves_the_arguments():
    task = sample.add.using(unique=("a",), on_conflict="debounce", delay=60)
    first = task(1, 1)
    due = Job.objects.get().run_after
    second = task(1, 2)
    assert second.id == first.id
    (job,) = Job.objects.all()
    assert job.args == [1, 1]
    assert due < job.run_after < due + HOUR
    assert job.status == "SCHEDULED"


def test_debounce_makes_a_job_wait_again_that_was_due():
    task = sample.add.using(unique=True, on_conflict="debounce", delay=60)
    task(1)
    maintenance.promote(timezone.now() + HOUR)
    task(1)
    assert Job.objects.get().status == "SCHEDULED"


def test_debounce_without_a_delay_says_so():
    with pytest.raises(
        InvalidTask, match="add debounces, and a call of it has no delay"
    ):
        sample.add.using(unique=True, on_conflict="debounce")(1)


def test_skipping_tells_nobody_of_a_new_job():
    told = []

    def receiver(*, task_result, **kwargs):
        told.append(task_result.id)

    task_enqueued.connect(receiver)
    try:
        first = once(1)
        once(1)
        enqueue_many([once.s(1), once.s(1)])
    finally:
        task_enqueued.disconnect(receiver)
    assert told == [first.id]


# -- in bulk


def test_bulk_finds_those_that_are_there_and_those_among_themselves():
    there = once(1)
    results = enqueue_many(
        [once.s(1), once.s(2), sample.add.s(2), once.s(2), once.s(3)]
    )
    assert [r.was_deduplicated for r in results] == [True, False, False, True, False]
    assert results[0].id == there.id
    assert results[1].id == results[3].id
    assert Job.objects.count() == 4


def test_bulk_without_results_counts_all():
    assert enqueue_many((once.s(n % 10) for n in range(50)), results=False) == 50
    assert Job.objects.count() == 10


def test_of_many_that_replace_each_other_the_last_stays():
    task = sample.add.using(unique=("a",), on_conflict="replace")
    enqueue_many(task.s(n % 3, n) for n in range(30))
    assert sorted(job.args for job in Job.objects.all()) == [[0, 27], [1, 28], [2, 29]]


def test_bulk_that_raises_writes_nothing():
    task = sample.add.using(unique=True, on_conflict="raise")
    with pytest.raises(AlreadyEnqueued):
        enqueue_many([sample.add.s(1), task.s(2), task.s(2)])
    assert not Job.objects.exists()


# -- races


def test_who_comes_second_waits_for_the_first_transaction(only):
    """The other one's row cannot be seen, and yet its key is taken."""
    only("postgresql", "mysql")
    second = []
    with transaction.atomic():
        first = once(1)
        thread = in_thread(lambda: second.append(once(1)))
        wait_until_somebody_waits()
    thread.join(30)
    assert [result.id for result in second] == [first.id]


def test_if_the_first_transaction_is_rolled_back_the_second_job_is_written(only):
    only("postgresql", "mysql")
    second = []
    with transaction.atomic():
        once(1)
        thread = in_thread(lambda: second.append(once(1)))
        wait_until_somebody_waits()
        transaction.set_rollback(True)
    thread.join(30)
    (job,) = Job.objects.all()
    assert [(r.id, r.was_deduplicated) for r in second] == [(str(job.pk), False)]


def test_one_that_ends_while_one_looks_who_it_is_makes_room(monkeypatch):
    first = once(1)
    engine, insert = type(get_engine()), type(get_engine()).insert_unless_taken

    def insert_and_finish(self, jobs):
        insert(self, jobs)
        monkeypatch.setattr(engine, "insert_unless_taken", insert)
        finish(claim(), Succeeded())

    monkeypatch.setattr(engine, "insert_unless_taken", insert_and_finish)
    second = once(1)
    assert second.id != first.id
    assert not second.was_deduplicated


def test_one_that_is_claimed_while_it_is_to_be_replaced_is_left_alone(monkeypatch):
    task = sample.add.using(unique=("a",), on_conflict="replace")
    first = task(1, 1)
    engine, insert = type(get_engine()), type(get_engine()).insert_unless_taken

    def insert_and_claim(self, jobs):
        insert(self, jobs)
        monkeypatch.setattr(engine, "insert_unless_taken", insert)
        looked = base.Job.objects.filter(pk=first.id)
        monkeypatch.setattr(
            "django_bgtasks.store.admission._change", claim_and_change(looked)
        )

    def claim_and_change(looked):
        from django_bgtasks.store.admission import _change  # noqa: PLC0415 (the real one)

        def change(holder, job, changes):
            monkeypatch.setattr("django_bgtasks.store.admission._change", _change)
            claim()
            return _change(holder, job, changes)

        return change

    monkeypatch.setattr(engine, "insert_unless_taken", insert_and_claim)
    second = task(1, 2)
    assert second.id != first.id
    assert Job.objects.get(pk=first.id).args == [1, 1]


# -- elsewhere


def test_savepoints_take_their_jobs_with_them():
    with transaction.atomic():
        with transaction.atomic():
            once(1)
            transaction.set_rollback(True)
        result = once(1)
    assert not result.was_deduplicated
    assert Job.objects.count() == 1


def test_the_portable_engine_keeps_them_apart_too(monkeypatch):
    own = type(get_engine())
    monkeypatch.setattr(own, "insert_unless_taken", Engine.insert_unless_taken)
    first = once(1)
    assert once(1).id == first.id
    with transaction.atomic():
        assert once(1).id == first.id


def test_a_tick_of_a_unique_task_makes_no_second_job():
    waiting = sample.once_only()
    schedule = Schedule.objects.create(
        name="tick", task=sample.once_only.path, every=timedelta(minutes=1)
    )
    schedules.enqueue_due(timezone.now())
    round_ = schedules.enqueue_due(timezone.now() + HOUR)
    assert round_.problems == {}
    assert round_.jobs == []
    assert Job.objects.count() == 1
    schedule.refresh_from_db()
    assert str(schedule.last_job) == waiting.id
    assert str(schedules.run_now("tick").pk) == waiting.id


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unique": ("x",)}, r"unique of .*add names 'x', and that is no parameter"),
        ({"unique": ()}, "unique names no parameter"),
        ({"unique": 5}, "must be the name of a parameter, or a list"),
        (
            {"unique": True, "unique_until": "over"},
            '"finished", "started", or a period',
        ),
        ({"unique": True, "unique_until": 0}, "or a period"),
        ({"unique": True, "on_conflict": "drop"}, 'one of "skip", "replace"'),
        (
            {"unique": True, "unique_until": 5, "on_conflict": "replace"},
            "would have to change a job that is over",
        ),
        (
            {"unique": True, "unique_until": 5, "store_result": False},
            "store_result=False deletes the row",
        ),
    ],
)
def test_what_cannot_be_is_said_at_once(options, message):
    with pytest.raises(InvalidTask, match=message):
        sample.add.using(**options)


def move_time(monkeypatch, step):
    now = timezone.now
    monkeypatch.setattr("django_bgtasks.timing.now", lambda: now() + step)


def wait_until_somebody_waits():
    """Until the server says that a transaction waits for another one."""
    sql = {
        "postgresql": "SELECT count(*) FROM pg_locks WHERE NOT granted",
        "mysql": "SELECT count(*) FROM information_schema.innodb_lock_waits",
    }[connection.vendor]
    other = connections.create_connection("default")
    try:
        for _ in range(200):
            # InnoDB tells anew only if it was not asked for a tenth of a second.
            threading.Event().wait(0.11)
            with other.cursor() as cursor:
                cursor.execute(sql)
                if cursor.fetchone() != (0,):
                    return
        pytest.fail("nobody waits")
    finally:
        other.close()


def test_a_function_gets_what_the_caller_has_passed(settings):
    settings.BGTASKS = {
        **settings.BGTASKS,
        "ENCODER": "django_bgtasks.encoding.RichEncoder",
    }
    task = sample.add.using(unique=lambda a: a.year)
    first = task(date(2026, 1, 1))
    assert task(date(2026, 12, 31)).id == first.id
    assert task(date(2027, 1, 1)).id != first.id


# -- what others hold, and what nobody found out yet


def test_one_that_has_expired_does_not_stand_for_the_next(monkeypatch):
    """Nobody has cancelled it yet; it will not run."""
    task = sample.add.using(unique=True, expires=60)
    first = task(1)
    move_time(monkeypatch, HOUR)
    second = task(1)
    assert second.id != first.id
    assert Job.objects.get(pk=first.id).is_expired
    assert Job.objects.get(pk=second.id).status == "READY"


def test_one_that_runs_has_not_expired(monkeypatch):
    task = sample.add.using(unique=True, expires=60)
    first = task(1)
    claim()
    move_time(monkeypatch, HOUR)
    assert task(1).id == first.id


def test_debounce_moves_the_expiry_too(monkeypatch):
    task = sample.add.using(unique=True, on_conflict="debounce", delay=30, expires=60)
    task(1)
    move_time(monkeypatch, timedelta(seconds=50))
    task(1)
    job = Job.objects.get()
    assert job.run_after < job.expires_at


def test_what_stands_for_a_call_does_not_begin_before_its_commit():
    """It is to see what the caller has written."""
    once(1)
    with transaction.atomic():
        assert once(1).was_deduplicated
        claimed = []
        thread = in_thread(lambda: claimed.extend(claim_or_fail()))
        thread.join(30)
        assert claimed == []
    assert len(claim()) == 1


def claim_or_fail():
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout = 50")
    try:
        return claim()
    except OperationalError:
        # SQLite: the caller has the database to itself.
        return []


def test_no_worker_takes_a_new_job_before_one_has_looked(monkeypatch):
    """It would take the key with it, and the job would be written again."""
    holders, claimed = admission._holders, []

    def claim_and_look(firsts):
        thread = in_thread(lambda: claimed.extend(claim_or_fail()))
        thread.join(30)
        return holders(firsts)

    monkeypatch.setattr(admission, "_holders", claim_and_look)
    result = sample.add.using(unique=True, unique_until="started").enqueue(1)
    assert not result.was_deduplicated
    assert claimed == []
    assert str(Job.objects.get().pk) == result.id


def test_a_taken_key_holds_nobody_elses_enqueueing_up(only):
    only("postgresql", "mysql")
    once(5)
    with transaction.atomic():
        once(5)
        thread = in_thread(lambda: [sample.add(1), once(4), once(6)])
        thread.join(30)
        assert not thread.is_alive()
        assert Job.objects.count() == 4


def test_a_lock_is_waited_for_only_once(only, monkeypatch):
    """One that took too long would take as long again."""
    only("sqlite", "mysql")
    short = {
        "sqlite": "PRAGMA busy_timeout = 50",
        "mysql": "SET SESSION innodb_lock_wait_timeout = 1",
    }[connection.vendor]
    tries, admit_some = [], admission._admit_some

    def count(*args):
        tries.append(1)
        return admit_some(*args)

    def enqueue():
        with connection.cursor() as cursor:
            cursor.execute(short)
        with pytest.raises(OperationalError):
            once(1)

    with get_engine().transaction():
        once(1)
        monkeypatch.setattr(admission, "_admit_some", count)
        in_thread(enqueue).join(60)
    assert len(tries) == 1


def test_under_an_old_snapshot_the_new_job_is_the_one(only):
    only("postgresql")
    first = once(1)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        assert Job.objects.count() == 1
        in_thread(lambda: finish(claim(), Succeeded())).join(30)
        second = once(1)
        assert second.id != first.id
        assert not second.was_deduplicated


@pytest.fixture
def repeatable_read(only, monkeypatch):
    """Connections of a project that wants what is MySQL's own default."""
    only("mysql")
    options = connection.settings_dict["OPTIONS"]
    monkeypatch.setitem(options, "isolation_level", "repeatable read")
    connection.close()
    yield
    # The next one is as ever.
    connection.close()


@pytest.mark.parametrize("policy", ["skip", "replace"])
def test_under_an_old_snapshot_the_job_that_came_later_is_met(repeatable_read, policy):
    """A replacement that changes nothing leaves the row as invisible as it was."""
    task = sample.add.using(unique=True, on_conflict=policy)
    with transaction.atomic():
        assert not Job.objects.exists()
        others = []
        in_thread(lambda: others.extend([task.enqueue(1), task.enqueue(1)])).join(30)
        result = task.enqueue(1)
    assert result.was_deduplicated
    assert [other.id for other in others] == [result.id] * 2


def test_a_replaced_job_that_is_claimed_at_once_is_the_one(monkeypatch):
    looks, look = [], admission._as_they_are

    def claim_and_look(rows):
        looks.append(rows)
        if len(looks) == 2:
            claimed.extend(claim())
        return look(rows)

    claimed, first = [], once(1)
    monkeypatch.setattr(admission, "_as_they_are", claim_and_look)
    task = sample.add.using(unique=True, on_conflict="replace", priority=7)
    result = task.enqueue(1)
    assert result.id == first.id
    assert [job.priority for job in claimed] == [7]
    assert Job.objects.count() == 1


def test_positional_and_collected_arguments_of_one_name_are_two():
    task = sample.take_a_name.using(unique=True)
    assert len({task(1, a=2).id, task(5, a=2).id, task(1, a=3).id}) == 3
