import sys
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from django_bgtasks.models import Schedule, Tally
from django_bgtasks.store import queues
from django_bgtasks.views import exposition, metrics
from tests.factories import living_worker, make_job, make_running

pytestmark = pytest.mark.django_db

TOKEN = "a-token-that-is-long-enough"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _token(settings):
    settings.BGTASKS = {**settings.BGTASKS, "TOKEN": TOKEN}


@pytest.fixture
def ask(client):
    def ask(**headers):
        headers = {"Authorization": f"Bearer {TOKEN}", **headers}
        return client.get(reverse("django_bgtasks:metrics"), headers=headers)

    return ask


@pytest.fixture
def samples(ask):
    """Values by name and the values of labels, in the order of their names."""

    def samples():
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): (
                sample.value
            )
            for family in text_string_to_metric_families(ask().text)
            for sample in family.samples
        }

    return samples


def ago(minutes):
    return timezone.now() - minutes * MINUTE


def tally(minute, queue="mail", **columns):
    columns = {
        "span": 1,
        "successful": 3,
        "failed": 1,
        "wait_seconds": 1.0,
        "run_seconds": 2.0,
        "waits": {"20": 4},
        "runs": {"21": 4},
        **columns,
    }
    return Tally.objects.create(queue=queue, minute=minute, **columns)


def test_queues(samples):
    make_job(queue="mail", enqueued_at=ago(10))
    make_job(queue="mail")
    make_job(queue="mail", status="SCHEDULED", run_after=ago(-10))
    make_running(queue="slow")
    queues.pause("slow")
    shown = samples()
    for name, value in {
        ("bgtasks_jobs_waiting", "mail"): 2,
        ("bgtasks_jobs_scheduled", "mail"): 1,
        ("bgtasks_jobs_running", "mail"): 0,
        ("bgtasks_jobs_running", "slow"): 1,
        ("bgtasks_queue_paused", "mail"): 0,
        ("bgtasks_queue_paused", "slow"): 1,
        ("bgtasks_oldest_due_job_age_seconds", "slow"): 0,
        ("bgtasks_queues",): 2,
    }.items():
        assert shown[name] == value, name
    age = shown["bgtasks_oldest_due_job_age_seconds", "mail"]
    assert 600 <= age < 700


def test_workers(samples):
    living_worker(memory=100, threads=4)
    living_worker(memory=20, threads=2, pid=8)
    living_worker(memory=None, threads=1, pid=9)
    living_worker(memory=3, heartbeat_at=ago(10), pid=10)
    shown = samples()
    assert shown["bgtasks_workers", "live"] == 3
    assert shown["bgtasks_workers", "lost"] == 1
    assert shown["bgtasks_worker_threads",] == 7
    assert shown["bgtasks_worker_memory_bytes",] == 120


def test_schedules(samples):
    def schedule(name, **columns):
        row = Schedule(name=name, task="t", every=MINUTE, source="admin")
        Schedule.objects.bulk_create([row])
        Schedule.objects.filter(pk=name).update(**columns)

    schedule("in time", next_due=ago(-1))
    schedule("late", next_due=ago(10))
    schedule("wrong", problem="It is gone.")
    shown = samples()
    assert shown["bgtasks_schedules",] == 3
    assert shown["bgtasks_schedules_late",] == 1
    assert shown["bgtasks_schedules_with_problems",] == 1


def test_what_has_ended(samples):
    tally(ago(2), retried=5, cancelled=2)
    tally(ago(20))
    tally(ago(70))
    shown = samples()
    for window, successful in {"5m": 3, "1h": 6}.items():
        place = ("mail", window)
        assert shown["bgtasks_jobs_finished", "successful", *place] == successful
        assert shown["bgtasks_jobs_finished", "failed", *place] == successful / 3
        assert shown["bgtasks_jobs_finished", "cancelled", *place] == 2
        assert shown["bgtasks_attempts_retried", *place] == 5
        by_quantile = ("0.5", *place), ("0.95", *place)
        median, p95 = (shown["bgtasks_job_wait_seconds", *key] for key in by_quantile)
        assert 0.5 < median < p95 < 1.1
        median, p95 = (shown["bgtasks_job_run_seconds", *key] for key in by_quantile)
        assert 1 < median < p95 < 2.1


def test_where_nothing_was_counted_there_is_no_time(samples):
    tally(ago(1), waits={}, runs={})
    assert not [
        name for name, *_ in samples() if name.endswith(("wait_seconds", "run_seconds"))
    ]


def test_it_says_what_answers(ask):
    (build,) = (
        family
        for family in text_string_to_metric_families(ask().text)
        if family.name == "bgtasks_build_info"
    )
    assert set(build.samples[0].labels) == {"version", "django_version"}


def test_it_speaks_openmetrics_if_asked(ask):
    tally(ago(1))
    make_job(queue='odd "name"\\\n')
    response = ask(Accept=OPENMETRICS)
    assert response["Content-Type"].startswith("application/openmetrics-text")
    families = list(openmetrics_parser.text_string_to_metric_families(response.text))
    labels = [s.labels for f in families for s in f.samples if "queue" in s.labels]
    assert {"queue": 'odd "name"\\\n'} in labels


def test_names_and_texts_are_as_prometheus_wants_them(ask):
    tally(ago(1))
    for family in text_string_to_metric_families(ask().text):
        assert family.name.startswith("bgtasks_")
        assert family.documentation
        assert family.type == "gauge"


def test_many_queues_do_not_flood_it(samples, monkeypatch):
    monkeypatch.setattr(exposition, "QUEUE_LIMIT", 2)
    for number in range(4):
        make_job(queue=f"queue {number}")
        tally(ago(1), queue=f"queue {number}")
    make_job(queue="queue 3")
    shown = samples()
    named = {name[1] for name in shown if name[0] == "bgtasks_jobs_waiting"}
    assert len(named) == 2
    assert "queue 3" in named
    assert len({n[2] for n in shown if n[0] == "bgtasks_jobs_finished"}) == 2
    assert shown["bgtasks_queues",] == 4


def test_without_the_library_it_says_what_to_install(ask, monkeypatch):
    monkeypatch.setattr(metrics, "exposed", None)
    response = ask()
    assert response.status_code == 501
    assert 'pip install "django-bgtasks[metrics]"' in response.text


def test_urls_do_not_need_the_library(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("prometheus_client")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "django_bgtasks.views.exposition")
    monkeypatch.delattr("django_bgtasks.views.exposition")
    monkeypatch.delitem(sys.modules, "django_bgtasks.views.metrics")
    imported = __import__("django_bgtasks.views.metrics", fromlist=["exposed"])
    assert imported.exposed is None
