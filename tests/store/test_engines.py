"""What every engine must do; the suite runs on each database in turn."""

import re
import select
import uuid
from contextlib import contextmanager, suppress
from datetime import timedelta

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_bgtasks.models import Job
from django_bgtasks.outcomes import Released, Snoozed, Succeeded
from django_bgtasks.store import lifecycle, queues, workers
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.engines.base import Engine, Want
from tests.factories import held, in_thread, make_job, make_jobs, make_running
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db

WORKER = uuid.uuid4()


@pytest.fixture(params=["own", "portable"])
def engine(request):
    """The engine made for this database, and the one for any database."""
    own = get_engine()
    return own if request.param == "own" else Engine(own.connection)


def test_each_database_has_its_own():
    assert type(get_engine()) is not Engine
    assert get_engine().alias == "default"


def test_the_clock_is_about_right(engine):
    assert abs(engine.now() - timezone.now()) < timedelta(minutes=1)


def test_a_claim_marks_the_row_and_returns_it(engine):
    now = timezone.now()
    waiting = make_job(args=[1, {"a": None}], kwargs={"b": [2]}, run_after=now)
    (job,) = engine.claim(Want("default", 5), WORKER, now)
    job_row = Job.objects.get()
    for seen in (job, job_row):
        assert (seen.pk, seen.status) == (waiting.pk, "RUNNING")
        assert (seen.attempt, seen.run_token) == (1, 1)
        assert seen.worker == seen.last_worker == WORKER
        assert seen.started_at == now
        assert (seen.args, seen.kwargs) == ([1, {"a": None}], {"b": [2]})
        assert seen.enqueued_at == waiting.enqueued_at


def test_a_certain_job_can_be_claimed(engine):
    now = timezone.now()
    urgent, wanted = make_job(priority=9), make_job(args=[1])
    job = engine.claim_this(wanted, WORKER, now)
    for seen in (job, Job.objects.get(pk=wanted.pk)):
        assert (seen.pk, seen.status, seen.args) == (wanted.pk, "RUNNING", [1])
        assert (seen.worker, seen.attempt, seen.run_token) == (WORKER, 1, 1)
        assert seen.started_at == now
    assert Job.objects.ready().get() == urgent
    assert engine.claim_this(wanted, uuid.uuid4(), now) is None
    queues.pause("default")
    assert engine.claim_this(urgent, WORKER, now) is None


def test_the_urgent_first_then_the_old(engine):
    rows = [make_job(priority=p) for p in (0, 5, -5, 5, 100, -100)]
    claimed = [j.pk for j in engine.claim(Want("default", 4), WORKER, timezone.now())]
    assert claimed == [rows[i].pk for i in (4, 1, 3, 0)]
    rest = [j.pk for j in engine.claim(Want("default", 4), WORKER, timezone.now())]
    assert rest == [rows[i].pk for i in (2, 5)]


def test_only_ready_jobs_of_that_queue_are_claimed(engine):
    make_job(status="SCHEDULED", run_after=timezone.now())
    make_job(status="FAILED", finished_at=timezone.now())
    make_running()
    make_job(queue="other")
    assert engine.claim(Want("default", 5), WORKER, timezone.now()) == []
    assert engine.claim(Want("nothing", 5), WORKER, timezone.now()) == []


def test_ready_queues_are_named_once_and_sorted(engine):
    assert engine.ready_queues() == []
    for queue in ("b", "a", "b", "c"):
        make_job(queue=queue)
    make_job(queue="later", status="SCHEDULED", run_after=timezone.now())
    assert engine.ready_queues() == ["a", "b", "c"]
    queues.pause("b")
    assert engine.ready_queues() == ["a", "c"]
    queues.resume("b")
    assert engine.ready_queues() == ["a", "b", "c"]
    assert engine.ready_queues(["c", "a", "later", "nothing"]) == ["a", "c"]


def test_any_number_of_queues(engine):
    make_jobs(1500, queue_of=lambda n: f"q{n:04}")
    assert engine.ready_queues() == [f"q{n:04}" for n in range(1500)]


def test_names_that_the_database_takes_for_one(engine, only):
    only("mysql")
    make_job(queue="Mail")
    (name,) = engine.ready_queues(["mail"])
    assert len(engine.claim(Want(name, 5), WORKER, timezone.now())) == 1


def test_success_is_recorded_for_the_run_that_has_the_job(engine):
    now = timezone.now()
    values = [None, 0, "text", {"a": [1, None]}, [], False]
    jobs = [make_running(WORKER) for _ in values]
    lost = engine.finish_successful(list(zip(jobs, values, strict=True)), WORKER, now)
    assert lost == []
    for job, value in zip(jobs, values, strict=True):
        job.refresh_from_db()
        assert (job.status, job.result, job.worker) == ("SUCCESSFUL", value, None)
        assert job.finished_at == now
        assert job.last_worker == WORKER
    assert Job.objects.filter(result__isnull=True).count() == 1


def test_success_of_a_lost_run_changes_nothing(engine):
    mine = make_running(WORKER)
    other_worker = make_running()
    other_run = make_running(WORKER)
    Job.objects.filter(pk=other_run.pk).update(run_token=2)
    gone = make_running(WORKER)
    Job.objects.filter(pk=gone.pk).delete()
    lost = engine.finish_successful(
        [(job, 1) for job in (mine, other_worker, other_run, gone)],
        WORKER,
        timezone.now(),
    )
    assert lost == [other_worker, other_run, gone]
    assert Job.objects.running().count() == 2


def test_nothing_to_record(engine):
    assert engine.finish_successful([], WORKER, timezone.now()) == []


def test_a_lost_connection_is_transient(engine):
    assert engine.is_transient(OperationalError("server closed the connection"))
    assert not engine.is_transient(ValueError())


def test_a_syntax_error_is_not(engine):
    with pytest.raises(Exception) as failed, transaction.atomic():  # noqa: PT011 (each driver has its own)
        connection.cursor().execute("SELECT 1 FROM no_such_table")
    if connection.vendor != "sqlite":  # which has one class for all its errors
        assert not engine.is_transient(failed.value)
    assert not engine.is_conflict(failed.value)


@pytest.mark.django_db(transaction=True)
def test_a_row_that_another_transaction_holds_is_passed_over(only, engine):
    only("postgresql", "mysql")
    locked = make_job(priority=10)
    free = make_job()
    with held(locked):
        claimed = engine.claim(Want("default", 5), WORKER, timezone.now())
        assert [job.pk for job in claimed] == [free.pk]
    claimed = engine.claim(Want("default", 5), WORKER, timezone.now())
    assert [job.pk for job in claimed] == [locked.pk]


@pytest.mark.django_db(transaction=True)
def test_a_deadlock_is_told_from_other_trouble(only, engine):
    only("sqlite")
    engine = get_engine()
    other = connections.create_connection("default")
    other.settings_dict = {**other.settings_dict, "OPTIONS": {"timeout": 0.01}}
    try:
        with engine.transaction():
            make_job()
            with pytest.raises(OperationalError) as locked:
                other.cursor().execute("BEGIN IMMEDIATE")
    finally:
        other.close()
    assert engine.is_conflict(locked.value)


@pytest.mark.django_db(transaction=True)
def test_writing_transactions_take_the_lock_at_once_on_sqlite(only):
    only("sqlite")
    engine = get_engine()
    other = connections.create_connection("default")
    other.settings_dict = {**other.settings_dict, "OPTIONS": {"timeout": 0.01}}
    try:
        with engine.transaction(), pytest.raises(OperationalError, match="locked"):
            # Nothing is written yet, and still nobody else may begin to.
            other.cursor().execute("BEGIN IMMEDIATE")
    finally:
        other.close()
    assert connection.transaction_mode != "IMMEDIATE"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "write",
    [
        lambda: queues.pause("mail"),
        lambda: workers.register(
            WORKER, hostname="", pid=1, queues=[], threads=1, now=timezone.now()
        ),
    ],
    ids=["pause", "register"],
)
def test_nobody_writes_between_a_look_and_a_write_on_sqlite(only, write):
    only("sqlite")
    other = connections.create_connection("default")
    other.settings_dict = {**other.settings_dict, "OPTIONS": {"timeout": 0.01}}
    refused = []

    def meanwhile(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if sql.startswith("SELECT") and "FROM" in sql:
            with suppress(OperationalError):
                other.cursor().execute("DELETE FROM django_bgtasks_job")
                return result
            refused.append(sql)
        return result

    # In a file without WAL, who reads keeps the other one out for another reason.
    get_engine().prepare()
    try:
        with connection.execute_wrapper(meanwhile):
            write()
    finally:
        other.close()
    assert refused


def test_a_large_batch(engine):
    make_jobs(1200)
    jobs = engine.claim(Want("default", 1000), WORKER, timezone.now())
    assert len(jobs) == 1000
    assert [job.pk for job in jobs] == sorted(job.pk for job in jobs)
    assert not engine.finish_successful([(j, 1) for j in jobs], WORKER, timezone.now())
    assert Job.objects.successful().count() == 1000


def test_a_paused_queue_is_not_claimed_from(engine):
    make_job()
    queues.pause("default")
    assert engine.claim(Want("default", 5), WORKER, timezone.now()) == []
    queues.resume("default")
    assert len(engine.claim(Want("default", 5), WORKER, timezone.now())) == 1


def test_a_claim_may_look_only_behind_a_mark(engine, only):
    only("postgresql", "mysql")  # elsewhere no old snapshot leaves anything behind
    rows = [make_job(priority=p) for p in (5, 0, 5, 5, 9)]
    claimed = engine.claim(Want("default", 5, (5, rows[0].pk)), WORKER, timezone.now())
    assert [job.pk for job in claimed] == [rows[2].pk, rows[3].pk]


def test_finishing_and_claiming_at_once(engine):
    now = timezone.now()
    values = [None, {"a": [1]}, "text"]
    mine = [make_running(WORKER) for _ in values]
    lost = make_running()
    waiting = [make_job(priority=p) for p in (0, 5)]
    successes = [*zip(mine, values, strict=True), (lost, 1)]
    result = engine.finish_and_claim(successes, Want("default", 5), WORKER, now)
    assert result[0] == [lost]
    assert [job.pk for job in result[1]] == [waiting[1].pk, waiting[0].pk]
    for job, value in zip(mine, values, strict=True):
        job.refresh_from_db()
        assert (job.status, job.result, job.worker) == ("SUCCESSFUL", value, None)
    for job in result[1]:
        row = Job.objects.get(pk=job.pk)
        assert (row.status, row.worker) == ("RUNNING", WORKER)
        assert (row.attempt, row.run_token) == (job.attempt, job.run_token) == (1, 1)


def test_finishing_and_claiming_with_nothing_to_claim(engine):
    job = make_running(WORKER)
    now = timezone.now()
    assert engine.finish_and_claim([(job, 1)], Want("none", 5), WORKER, now) == ([], [])
    assert Job.objects.successful().count() == 1


def test_claiming_with_nothing_to_finish(engine):
    waiting = make_job()
    lost, claimed = engine.finish_and_claim(
        [], Want("default", 5), WORKER, timezone.now()
    )
    assert (lost, [job.pk for job in claimed]) == ([], [waiting.pk])


def test_a_success_recorded_before_is_not_lost(engine):
    """The answer to the first try may have got lost on its way."""
    job = make_running(WORKER)
    for _ in range(2):
        assert engine.finish_successful([(job, 1)], WORKER, timezone.now()) == []
    assert engine.finish_successful([(job, 1)], uuid.uuid4(), timezone.now()) == [job]


def test_what_a_claim_returns_is_what_the_row_says(engine):
    make_job(
        args=[{"a": 1.5}], kwargs={"b": []}, timeout=1.5, run_after=timezone.now(),
        unknown_since=timezone.now(), priority=-3, max_attempts=7,
    )  # fmt: skip
    (job,) = engine.claim(Want("default", 1), WORKER, timezone.now())
    (row,) = Job.objects.values()
    assert {name: getattr(job, name) for name in row} == row
    assert not job._state.adding
    assert job._state.db == "default"


@pytest.mark.django_db(transaction=True)
def test_a_listener_hears_what_is_committed(only):
    only("postgresql", "sqlite")
    listener = get_engine().listener()
    listener.heard()  # of the tests before
    assert listener.heard() is None
    in_thread(lambda: sample.add(1)).join()
    if listener.fileno is not None:
        # The server passes it on when it has answered the one who called.
        select.select([listener.fileno], [], [], 10)
    heard = listener.heard()
    assert heard == frozenset(["default" if connection.vendor == "postgresql" else ""])
    assert listener.heard() is None


@pytest.mark.django_db(transaction=True)
def test_a_listener_hears_nothing_of_what_is_rolled_back(only):
    only("postgresql", "sqlite")
    listener = get_engine().listener()
    listener.heard()  # of the tests before

    def roll_back():
        with suppress(ZeroDivisionError), transaction.atomic():
            sample.add(1)
            raise ZeroDivisionError

    in_thread(roll_back).join()
    assert listener.heard() is None


@pytest.mark.django_db(transaction=True)
def test_a_call_that_comes_with_an_answer_is_heard(only):
    only("postgresql")
    listener = get_engine().listener()
    listener.heard()  # of the tests before
    in_thread(lambda: sample.add(1)).join()
    assert Job.objects.count() == 1
    assert listener.heard() == frozenset(["default"])


@pytest.mark.django_db(transaction=True)
def test_a_listener_tells_of_a_lost_connection(only):
    only("postgresql")
    other = connections.create_connection("default")
    try:
        listener = type(get_engine())(other).listener()
        with connection.cursor() as cursor:
            pid = other.connection.info.backend_pid
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        with pytest.raises(OperationalError):
            # The server's last words come first.
            _ = [listener.heard() for _ in range(3)]
    finally:
        other.close()


def test_other_databases_are_deaf(only):
    only("mysql")
    listener = get_engine().listener()
    sample.add(1)
    assert (listener.fileno, listener.interval, listener.heard()) == (None, None, None)


@pytest.mark.parametrize(
    ("listen", "pooled", "hears"),
    [
        (None, False, True),
        (None, True, False),
        (True, True, True),
        (False, False, False),
    ],
)
def test_who_listens_on_postgresql(only, settings, listen, pooled, hears):
    only("postgresql")
    settings.BGTASKS = {"LISTEN": listen}
    connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] = pooled
    try:
        assert (get_engine().listener().fileno is not None) == hears
    finally:
        connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] = False


#: Tables that a plan reads row by row, and how often at the most.
_LOOPS = re.compile(r"(Seq Scan|Function Scan).*loops=(\d+)")


@pytest.mark.django_db(transaction=True)
def test_statistics_of_an_empty_table_lead_no_plan_astray(only):
    """The planner believes that there are no rows, and there are many."""
    only("postgresql")
    engine = get_engine()
    plans = []
    with statistics_of_now():
        make_jobs(3000)
        make_jobs(3000, status="SUCCESSFUL", finished_at=timezone.now())
        jobs = engine.claim(Want("default", 500), WORKER, timezone.now())
        with explained(plans):
            for _ in range(3):
                ended = [(job, {"n": 1}) for job in jobs]
                _, jobs = engine.finish_and_claim(
                    ended, Want("default", 500), WORKER, timezone.now()
                )
    assert len(plans) == 3
    for plan in plans:
        assert not [loops for _, loops in _LOOPS.findall(plan) if int(loops) > 1], plan


@pytest.mark.django_db(transaction=True)
def test_what_ran_is_found_by_its_key_though_statistics_say_that_nothing_runs(only):
    """By its worker alone, it would be found among all that this one ran for hours."""
    only("postgresql")
    engine, now = get_engine(), timezone.now()
    make_jobs(3000, status="SUCCESSFUL", finished_at=now)
    plans = []
    with statistics_of_now():
        one, two, three, four, five = (
            make_running(WORKER, store_result=n < 4) for n in range(5)
        )
        with explained(plans):
            assert engine.finish_successful([(one, 1)], WORKER, now) == []
            assert engine.finish_and_claim(
                [(two, 1)], Want("default", 1), WORKER, now
            ) == ([], [])
            assert lifecycle.write_running(three, progress={})
            ended = [
                (three, Snoozed(timedelta(1))),
                (four, Released()),
                (five, Succeeded()),
            ]
            assert lifecycle.finish(WORKER, ended, now) == []
    assert len(plans) == 6
    for plan in plans:
        assert re.search(r"Index Cond: .*\bid\b", plan), plan


@contextmanager
def statistics_of_now():
    """Let the planner believe meanwhile that the table is as it is now."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE django_bgtasks_job SET (autovacuum_enabled = off)")
        cursor.execute("ANALYZE django_bgtasks_job")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE django_bgtasks_job RESET (autovacuum_enabled)")


@contextmanager
def explained(plans):
    """Note how each statement is carried out that changes or locks rows."""

    def explain(execute, sql, params, many, context):
        if "UPDATE" not in sql:
            return execute(sql, params, many, context)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF) {sql}", params)
            plans.append("\n".join(line for (line,) in cursor.fetchall()))
            transaction.set_rollback(True)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        yield


def test_a_finish_on_sqlite_goes_from_job_to_row(only):
    only("sqlite")
    jobs = [make_running(WORKER) for _ in range(3)]
    with CaptureQueriesContext(connection) as queries:
        get_engine().finish_successful([(j, 1) for j in jobs], WORKER, timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {queries[-1]['sql']}")
        plan = [row[3] for row in cursor.fetchall()]
    assert plan[0].startswith("SCAN done")
    assert "(id=?)" in plan[1]
