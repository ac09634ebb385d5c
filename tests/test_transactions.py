"""Jobs and the caller's transaction, in the same database and in another one."""

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections, transaction
from django.db.transaction import TransactionManagementError
from django.test import TestCase, TransactionTestCase

from django_bgtasks import enqueue_many
from django_bgtasks.conf import get_settings
from django_bgtasks.exceptions import WaitInTransaction
from django_bgtasks.models import Job
from django_bgtasks.routers import JobsRouter
from django_bgtasks.store.engines import get_engine
from tests import factories
from tests.sample import tasks as sample

once = sample.add.using(unique=True)

#: 30 are copied, where the database can.
COUNTS = pytest.mark.parametrize("count", [1, 30])


def seen_by_others():
    """How many jobs somebody else sees."""
    other = connections.create_connection("default")
    try:
        with other.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {Job._meta.db_table}")  # noqa: S608 (our own)
            return cursor.fetchone()[0]
    finally:
        other.close()


@pytest.mark.django_db(transaction=True)
class TestOneDatabase:
    def test_a_job_is_part_of_the_transaction(self):
        with transaction.atomic():
            sample.add(1)
            enqueue_many([sample.add.s(2), sample.add.s(3)])
            assert seen_by_others() == 0
        assert seen_by_others() == 3

    def test_and_goes_with_it(self):
        with transaction.atomic():
            sample.add(1)
            transaction.set_rollback(True)
        assert seen_by_others() == 0

    def test_a_savepoint_takes_only_its_own(self):
        with transaction.atomic():
            sample.add(1)
            with transaction.atomic():
                sample.add(2)
                transaction.set_rollback(True)
            sample.add(3)
        assert sorted(job.args for job in Job.objects.all()) == [[1], [3]]

    @COUNTS
    def test_nothing_is_taken_that_will_be_rolled_back(self, count):
        with transaction.atomic():
            transaction.set_rollback(True)
            with pytest.raises(TransactionManagementError, match="can't execute"):
                enqueue_many([sample.add.s(1)] * count)

    @COUNTS
    def test_what_the_database_says_is_an_error_of_djangos(self, count, monkeypatch):
        monkeypatch.setattr(Job._meta, "db_table", "no_such_table")
        with pytest.raises(DatabaseError), transaction.atomic():
            enqueue_many([sample.add.s(1)] * count)

    def test_async_code_enqueues_by_itself(self):
        async def view():
            return await sample.add.aenqueue(1)

        result = async_to_sync(view)()
        assert seen_by_others() == 1
        assert str(Job.objects.get().pk) == result.id

    def test_async_code_in_a_transaction_of_its_thread(self):

        @sync_to_async
        def work():
            with transaction.atomic():
                async_to_sync(sample.add.aenqueue)(1)
                before = seen_by_others()
            return before, seen_by_others()

        assert async_to_sync(work)() == (0, 1)


class InATestCase(TestCase):
    def test_rows_are_there_at_once(self):
        result = sample.add(1)
        with transaction.atomic():
            sample.add(2)
        assert Job.objects.count() == 2
        result.refresh()


class InATransactionTestCase(TransactionTestCase):
    def test_rows_are_there_for_everybody(self):
        sample.add(1)
        assert seen_by_others() == 1


@pytest.fixture(scope="module")
def another_alias():
    with factories.another_alias("jobs"):
        yield


@pytest.fixture
def jobs_elsewhere(another_alias, settings):
    """Jobs are in what is another database, as far as anybody can tell."""
    settings.BGTASKS = {**settings.BGTASKS, "DATABASE": "jobs"}
    settings.DATABASE_ROUTERS = ["django_bgtasks.routers.JobsRouter"]


@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.usefixtures("jobs_elsewhere")
class TestTwoDatabases:
    def test_they_are_where_the_setting_says(self):
        assert get_engine().alias == "jobs"
        assert checks.run_checks(tags=["compatibility"]) is not None
        assert Job.objects.all().db == "jobs"

    def test_without_a_transaction_a_job_is_written_at_once(self):
        sample.add(1)
        assert seen_by_others() == 1

    def test_in_a_transaction_it_waits_for_the_commit(self):
        with transaction.atomic():
            result = sample.add(1)
            enqueue_many([sample.add.s(n) for n in range(30)])
            assert Job.objects.count() == 0
        assert Job.objects.count() == 31
        result.refresh()
        assert result.status == "READY"

    def test_a_rollback_leaves_nothing(self):
        with transaction.atomic():
            sample.add(1)
            transaction.set_rollback(True)
        assert Job.objects.count() == 0

    def test_a_savepoint_takes_only_its_own(self):
        with transaction.atomic():
            sample.add(1)
            with transaction.atomic():
                sample.add(2)
                transaction.set_rollback(True)
        assert [job.args for job in Job.objects.all()] == [[1]]

    def test_unique_jobs_are_told_apart_when_they_are_written(self):
        with transaction.atomic():
            results = [once(1), once(1), once.using(on_conflict="raise").enqueue(1)]
        assert not any(result.was_deduplicated for result in results)
        assert Job.objects.count() == 1
        assert once(1).was_deduplicated

    def test_inside_a_transaction_of_another_one_it_is_the_callers_all_the_same(self):
        with transaction.atomic(), transaction.atomic(using="jobs"):
            sample.add(1)
            transaction.set_rollback(True, using="jobs")
        assert Job.objects.count() == 0

    def test_a_transaction_of_the_jobs_database_is_the_callers(self):
        with transaction.atomic(using="jobs"):
            sample.add(1)
            assert Job.objects.count() == 1
            transaction.set_rollback(True, using="jobs")
        assert Job.objects.count() == 0

    @pytest.mark.parametrize("store_result", [True, False])
    def test_nobody_waits_before_the_commit(self, drain, store_result):
        task = sample.add.using(store_result=store_result)
        with transaction.atomic():
            result = task.enqueue(1)
            (other,) = enqueue_many([task.s(2)])
            for one in (result, other):
                with pytest.raises(WaitInTransaction, match=f"{one.id} has not ended"):
                    one.get(timeout=30)
                with pytest.raises(WaitInTransaction):
                    async_to_sync(one.aget)(timeout=30)
        drain()
        assert set(sample.calls) == {(1, 0), (2, 0)}

    def test_workers_find_them_there(self, drain, job_of):
        results = [sample.add(1), sample.report(2), sample.succeed_at(1)]
        drain()
        assert {job_of(result).status for result in results} == {"SUCCESSFUL"}
        results[0].refresh()
        assert results[0].return_value == 1


@pytest.mark.once
@pytest.mark.django_db(databases="__all__")
@pytest.mark.usefixtures("another_alias")
class TestSettings:
    def test_an_alias_that_is_none(self, settings):
        settings.BGTASKS = {"DATABASE": "job"}
        with pytest.raises(ImproperlyConfigured, match="DATABASES: 'default', 'jobs'"):
            get_settings()

    def test_a_router_that_is_missing(self, settings):
        settings.BGTASKS = {**settings.BGTASKS, "DATABASE": "jobs"}
        found = [m for m in checks.run_checks() if m.id == "django_bgtasks.E002"]
        assert [m.hint for m in found] == [
            "Put 'django_bgtasks.routers.JobsRouter' first in DATABASE_ROUTERS."
        ]
        settings.DATABASE_ROUTERS = ["django_bgtasks.routers.JobsRouter"]
        assert not [m for m in checks.run_checks() if m.id == "django_bgtasks.E002"]

    def test_tables_are_made_where_they_belong(self, settings):

        router = JobsRouter()
        assert router.allow_migrate("default", "django_bgtasks") is None
        settings.BGTASKS = {"DATABASE": "jobs"}
        assert router.allow_migrate("default", "django_bgtasks") is False
        assert router.allow_migrate("jobs", "django_bgtasks") is True
        assert router.allow_migrate("jobs", "auth") is None
        assert router.db_for_read(User) is None
