"""Tasks have ordinary connections, and whatever they do to them, the next has, too."""

import threading
from contextlib import suppress

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections

from django_bgtasks.models import Attempt, Job
from django_bgtasks.worker.vigil import close_connections
from tests.sample import tasks as sample
from tests.sample import vandals

pytestmark = pytest.mark.django_db(transaction=True)

MISTREATMENTS = [
    "leave_atomic_open",
    "begin_by_hand",
    "switch_autocommit_off",
    "switch_autocommit_off_by_hand",
    "close",
    "close_within_atomic",
    "close_the_drivers",
    "close_the_drivers_within_atomic",
    "close_the_drivers_under_atomic_left_open",
    "kill",
    "kill_and_hide_it",
    "kill_within_atomic",
    "leave_a_cursor_open",
    "leave_an_iterator_open",
    "leave_an_error_in_a_transaction",
    "forget_the_wrapper",
]
#: What harms the next job all the same, as it would harm the next request.
UNSEEN = {
    ("begin_by_hand", "kept", "mysql"),
    ("leave_an_iterator_open", "kept", "sqlite"),
}


@pytest.fixture
def configure(transactional_db):
    """Set what the threads of workers connect with, from now on."""
    settings = connections.settings["default"]
    as_it_was = {**settings, "OPTIONS": {**settings["OPTIONS"]}}
    connection.close()

    def configure(**changes):
        options = changes.pop("OPTIONS", {})
        settings.update(changes)
        settings["OPTIONS"] = {**settings["OPTIONS"], **options}

    yield configure
    # First, for they close connections, too, and no driver lets two do it at once.
    for thread in threading.enumerate():
        if thread.name.startswith("bgtasks-"):
            thread.join(10)
    while vandals.kept:
        thing = vandals.kept.pop()
        with suppress(Exception):  # of what is closed already
            getattr(thing, "connection", thing).close()
    close_connections()
    settings.clear()
    settings.update(as_it_was)


KEEPING = {
    "closed": {"CONN_MAX_AGE": 0},
    "kept": {"CONN_MAX_AGE": None},
    "pooled": {"OPTIONS": {"pool": {"min_size": 1, "max_size": 2, "timeout": 10}}},
}


@pytest.fixture(params=KEEPING)
def keeping(request, configure):
    if "pool" in request.param and connection.vendor != "postgresql":
        pytest.skip(f"no pools on {connection.vendor}")
    configure(**KEEPING[request.param])
    return request.param


def statuses():
    return list(Job.objects.order_by("id").values_list("status", flat=True))


# Of an iterator that is closed after its connection.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("how", MISTREATMENTS)
def test_however_one_is_left_the_next_job_has_a_good_one(drain, keeping, how):
    if how.startswith("kill") and connection.vendor == "sqlite":
        pytest.skip("nobody to kill it")
    if (how, keeping, connection.vendor) in UNSEEN:
        pytest.skip("its driver does not say, nor would Django ask between requests")
    vandals.mistreat_connection(how, None)
    for n in range(3):
        sample.write_a_user(f"good {n}")
    drain(threads=1)
    assert statuses()[1:] == ["SUCCESSFUL"] * 3, list(Attempt.objects.values("error"))
    assert Job.objects.filter(attempt__gt=1).count() == 0
    names = User.objects.filter(username__startswith="good").values_list("username")
    assert len(names) == 3


@pytest.mark.parametrize(
    "how", ["leave_atomic_open", "begin_by_hand", "switch_autocommit_off"]
)
def test_what_was_not_committed_is_rolled_back(drain, configure, how, caplog):
    if (how, "kept", connection.vendor) in UNSEEN:
        pytest.skip("its driver does not say")
    configure(CONN_MAX_AGE=None)
    vandals.mistreat_connection(how, "lost")
    sample.write_a_user("good")
    drain(threads=1)
    assert statuses() == ["SUCCESSFUL"] * 2
    assert [user.username for user in User.objects.all()] == ["good"]
    assert "left a transaction open on the database 'default'" in caplog.text


def test_async_jobs_do_not_use_one_anothers(keeping, worker, until):
    for n in range(7):
        User.objects.create(username=str(n))
    vandals.read_slowly()
    until(sample.started.is_set)
    vandals.awrite("meanwhile")
    until(lambda: Job.objects.successful().count() == 1)
    sample.gate.set()
    until(lambda: not Job.objects.unfinished().exists())
    assert statuses() == ["SUCCESSFUL"] * 2, Attempt.objects.get().traceback
    assert Job.objects.order_by("id")[0].result[:7] == list("0123456")


@pytest.mark.parametrize("how", ["leave_atomic_open", "kill_and_hide_it", "close"])
def test_however_an_async_job_leaves_its_the_next_has_a_good_one(
    drain, keeping, how, only
):
    if how.startswith("kill"):
        only("postgresql", "mysql")
    vandals.amistreat_connection(how, "lost")
    for n in range(3):
        vandals.awrite(f"good {n}")
    drain(threads=1)
    assert statuses()[1:] == ["SUCCESSFUL"] * 3, list(Attempt.objects.values("error"))
    assert User.objects.filter(username__startswith="good").count() == 3


def test_an_async_job_uses_the_database_in_its_own_thread(drain, configure):
    configure(CONN_MAX_AGE=None)
    vandals.note_connection()
    vandals.awrite("ada")
    vandals.note_connection()
    drain(threads=1)
    (thread, *before), among, (_, *after) = vandals.calls
    assert among == thread
    assert before == after, "nor does it take another connection"


def test_async_code_may_change_sides_again(drain):
    vandals.change_sides("ada")
    drain(threads=1)
    assert statuses() == ["SUCCESSFUL"], Attempt.objects.get().traceback
    assert User.objects.get().username == "ada"


def test_blocking_code_of_an_async_job_is_interrupted(worker, until, time):
    vandals.await_blocking_code()
    until(sample.started.is_set)
    time.advance(6)
    until(lambda: statuses() == ["FAILED"])
    assert Attempt.objects.get().ending == "TIMED_OUT"
    assert sample.calls == ["unwound"], "and not left to itself"
    vandals.awrite("ada")
    until(lambda: statuses() == ["FAILED", "SUCCESSFUL"])


def test_what_an_async_job_leaves_behind_is_told_that_it_is_late(worker, until):
    vandals.leave_a_task_running()
    until(lambda: statuses() == ["SUCCESSFUL"])
    sample.gate.set()
    assert sample.started.wait(10)
    (told,) = sample.calls
    assert "await what uses the database" in told


def test_kept_ones_are_used_again(drain, configure):
    configure(CONN_MAX_AGE=None)
    for _ in range(5):
        vandals.note_connection()
    drain(threads=1)
    assert len(set(sample.calls)) == 1


def test_closed_ones_are_not(drain, configure, only):
    only("postgresql", "mysql")  # where the server numbers them
    configure(CONN_MAX_AGE=0)
    for _ in range(5):
        vandals.note_connection()
    drain(threads=1)
    assert len({session for *_, session in sample.calls}) == 5


def test_a_dead_one_is_found_before_it_is_used(configure, worker, until, only):
    only("postgresql", "mysql")
    configure(CONN_MAX_AGE=None, CONN_HEALTH_CHECKS=True)
    for n in range(4):
        vandals.note_connection()
        until(lambda n=n: len(sample.calls) == n + 1)
        *_, session = sample.calls[-1]
        with connection.cursor() as cursor:
            cursor.execute(
                {
                    "postgresql": "SELECT pg_terminate_backend(%s)",
                    "mysql": "KILL %s",
                }[connection.vendor],
                [session],
            )
    until(lambda: statuses() == ["SUCCESSFUL"] * 4)


def test_threads_share_a_pool_that_has_a_place_for_each(drain, configure, only):
    only("postgresql")
    configure(OPTIONS={"pool": {"min_size": 0, "max_size": 4, "timeout": 5}})
    for n in range(40):
        sample.write_a_user(str(n))
        vandals.note_connection()
    drain(threads=4)
    assert set(statuses()) == {"SUCCESSFUL"}
    assert 1 <= len({session for *_, session in sample.calls}) <= 4


def test_the_loop_needs_no_place_in_the_pool(configure, worker, only):
    only("postgresql")
    configure(OPTIONS={"pool": {"min_size": 0, "max_size": 1}})
    # Its thread may have had one from there before.
    connection.close()
    connections["default"].settings_dict = connections.settings["default"]
    connection.ensure_connection()
    assert connection.connection._pool is not None
    worker._connect()
    assert connection.pool is None
    assert getattr(connection.connection, "_pool", None) is None


def test_no_job_is_within_a_request(drain, configure):
    configure(ATOMIC_REQUESTS=True)
    vandals.mistreat_connection("leave_on_commit", "ada")
    drain(threads=1)
    assert sample.calls == ["at once"]


def test_session_settings_last_as_long_as_the_connection(drain, configure, only):
    only("postgresql")
    configure(CONN_MAX_AGE=0)
    vandals.set_session("SET statement_timeout = '7s'")
    vandals.set_session("SELECT 1 / (current_setting('statement_timeout') = '0')::int")
    drain(threads=1)
    assert statuses() == ["SUCCESSFUL"] * 2
