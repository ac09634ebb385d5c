import json
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from django_bgtasks.views import health
from tests.factories import living_worker, make_job

pytestmark = pytest.mark.django_db

TOKEN = "a-token-that-is-long-enough"
OTHER = "another-token-for-the-rotation"


@pytest.fixture(autouse=True)
def _token(settings):
    settings.BGTASKS = {**settings.BGTASKS, "TOKEN": [TOKEN, OTHER]}


@pytest.fixture
def ask(client):
    def ask(name="health", token=TOKEN, **options):
        headers = {"Authorization": f"Bearer {token}"}
        return client.get(reverse(f"django_bgtasks:{name}"), headers=headers, **options)

    return ask


# -- who may ask


@pytest.mark.parametrize("name", ["health", "metrics"])
def test_each_of_the_tokens_opens(ask, name):
    living_worker()
    assert ask(name, TOKEN).status_code == 200
    assert ask(name, OTHER).status_code == 200


@pytest.mark.parametrize("name", ["health", "metrics"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer ü"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"X-Token": TOKEN},
    ],
)
def test_nothing_else_does(admin_client, name, headers):
    url = reverse(f"django_bgtasks:{name}")
    response = admin_client.get(url, {"token": TOKEN}, headers=headers)
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert list(response.json()) == ["error"]


@pytest.mark.parametrize("name", ["health", "metrics"])
@pytest.mark.parametrize("debug", [True, False])
def test_without_the_setting_there_is_no_such_page(ask, settings, name, debug):
    settings.BGTASKS = {}
    settings.DEBUG = debug
    response = ask(name, "")
    assert response.status_code == 404
    assert ("BGTASKS['TOKEN']" in response.text) is debug


@pytest.mark.parametrize("name", ["health", "metrics"])
def test_they_only_read_and_are_not_kept(client, ask, name):
    url = reverse(f"django_bgtasks:{name}")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert client.post(url, headers=headers).status_code == 405
    head = client.head(url, headers=headers)
    assert head.status_code == 200
    assert head.content == b""
    assert "no-store" in ask(name)["Cache-Control"]


def test_a_site_that_is_for_members_only_lets_them_in(ask, settings):
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    assert ask().status_code == 200


# -- what it says


def test_all_is_well(ask):
    living_worker()
    make_job()
    response = ask()
    assert response.status_code == 200
    shown = response.json()
    assert shown.pop("now")[:10] == str(timezone.now().date())
    assert shown == {
        "status": "ok",
        "problems": [],
        "workers": {"live": 1, "lost": 0},
        "jobs": {"waiting": 1, "scheduled": 0, "running": 0},
    }


def test_nobody_works_on_what_waits(ask):
    make_job(queue="mail")
    response = ask()
    assert response.status_code == 503
    assert response.json()["status"] == "wrong"
    assert response.json()["problems"] == [
        "Jobs wait on queue mail, and no live worker works on it."
    ]


@pytest.mark.parametrize(
    ("thresholds", "problem"),
    [
        ({"min_workers": 2}, "Live workers: 1; there should be at least 2."),
        ({"max_age": 60}, "A job on queue default has waited for 1 h"),
        ({"max_waiting": 1}, "More than 1 jobs wait on queue default."),
        ({"max_waiting": 2, "max_age": 7200, "min_workers": 1}, None),
    ],
)
def test_the_settings_say_what_is_too_much(ask, settings, thresholds, problem):
    settings.BGTASKS = {**settings.BGTASKS, "HEALTH": thresholds}
    living_worker()
    for _ in range(2):
        make_job(enqueued_at=timezone.now() - timedelta(hours=1))
    response = ask()
    assert response.status_code == (503 if problem else 200)
    assert [p.startswith(problem) for p in response.json()["problems"]] == (
        [True] if problem else []
    )


@pytest.mark.parametrize("name", ["health", "metrics"])
def test_a_hundred_queues_take_no_more_queries_than_one(ask, name):
    def queries():
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert ask(name).status_code in (200, 503)
        return len(captured)

    living_worker()
    make_job()
    few = queries()
    for number in range(100):
        make_job(queue=f"queue {number}")
        living_worker(pid=number)
    assert queries() == few < 12


@pytest.mark.parametrize("name", ["health", "metrics"])
def test_a_database_that_is_away_is_no_error_of_ours(ask, monkeypatch, name):
    def refuse(*args, **kwargs):
        raise OperationalError("no route to db.internal for user shop")

    monkeypatch.setattr(health, "overview", refuse)
    monkeypatch.setattr("django_bgtasks.views.exposition.overview", refuse)
    response = ask(name)
    assert response.status_code == 503
    assert "cannot be asked" in response.text
    assert "db.internal" not in response.text
    if name == "health":
        assert json.loads(response.text)["status"] == "wrong"


def test_it_answers_without_a_transaction(ask, settings, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)

    def look(**options):
        pytest.fail("in a transaction") if is_atomic() else None
        raise OperationalError

    def is_atomic():
        # The test itself has one.
        return len(connection.savepoint_ids) > 0

    monkeypatch.setattr(health, "overview", look)
    assert ask().status_code == 503
