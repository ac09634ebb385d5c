"""Many who enqueue the same jobs at the same moment."""

import random
import threading

import pytest
from django.db import connections

from django_bgtasks import enqueue_many
from django_bgtasks.models import Job
from tests.chaos.size import size
from tests.sample import tasks as sample

pytestmark = pytest.mark.django_db(transaction=True)

once = sample.add.using(unique=True)


def all_at_once(threads, rounds, enqueue):
    """Call ``enqueue(number, thread)`` in all threads at the same time, again and again."""
    turn = threading.Barrier(threads)
    failures = []

    def work(thread):
        try:
            for number in range(rounds):
                turn.wait(60)
                enqueue(number, thread)
        except BaseException as error:  # noqa: BLE001 (to be seen below)
            failures.append(error)
            turn.abort()
        finally:
            connections.close_all()

    workers = [threading.Thread(target=work, args=[n]) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []


@pytest.mark.timeout(300)
def test_sixteen_threads_with_one_key_make_one_job():
    rounds = size(200, 1000)
    ids = [set() for _ in range(rounds)]
    all_at_once(16, rounds, lambda number, _: ids[number].add(once(number).id))
    assert [len(one) for one in ids] == [1] * rounds
    assert Job.objects.ready().count() == rounds


def test_batches_with_the_same_keys_make_each_job_once():
    """In other orders, so that they would wait for each other in a circle."""
    rounds = size(5, 50)
    ids = [set() for _ in range(rounds * 100)]

    def enqueue(number, thread):
        keys = [number * 100 + n for n in range(100)]
        random.Random(thread).shuffle(keys)  # noqa: S311 (not to hide anything)
        results = enqueue_many([once.s(key) for key in keys])
        for key, result in zip(keys, results, strict=True):
            ids[key].add(result.id)

    all_at_once(8, rounds, enqueue)
    assert [len(one) for one in ids] == [1] * len(ids)
    assert Job.objects.ready().count() == len(ids)
