from datetime import timedelta
from uuid import UUID

import pytest
from django.utils import timezone

from django_bgtasks.admin import job_list
from django_bgtasks.models import Job, Queue
from tests.admin.pages import (
    MARKUP,
    cells,
    changelist,
    failed_attempt,
    job_that_is,
    listed,
    local,
    text_of,
    utc,
)
from tests.factories import make_job, make_jobs

pytestmark = pytest.mark.django_db


def test_without_jobs_there_is_a_page_too(admin_client):
    response = admin_client.get(changelist())
    assert response.status_code == 200
    assert "0 jobs" in text_of(response)


def test_jobs_are_listed_newest_first(admin_client):
    jobs = make_jobs(5)
    assert listed(admin_client.get(changelist())) == jobs[::-1]


def test_a_row_says_what_a_job_is_about(admin_client):
    job = job_that_is("FAILED", queue="mail", priority=-7, attempt=2)
    failed_attempt(job, 1, error="OSError: the first")
    failed_attempt(job, 2, error="ValueError: the\n   last")
    response = admin_client.get(changelist())
    assert cells(response, "short_id") == [str(job.pk)[:13]]
    assert f'title="{job.pk}"' in response.content.decode()
    assert cells(response, "task") == ["tests.sample.tasks.add"]
    assert cells(response, "queue") == ["mail"]
    assert cells(response, "status_badge") == ["Failed"]
    assert cells(response, "priority") == ["-7"]
    assert cells(response, "attempts_so_far") == ["2 of 3"]
    assert cells(response, "last_error") == ["ValueError: the last"]


def test_times_are_those_of_the_reader(admin_client):
    at = utc(2025, 7, 1, 10, 0, 5)
    job_that_is("SUCCESSFUL", enqueued_at=at, started_at=at, finished_at=at)
    response = admin_client.get(changelist())
    assert cells(response, "enqueued") == ["2025-07-01 12:00"]
    assert cells(response, "started") == ["2025-07-01 12:00"]
    assert 'title="2025-07-01 12:00:05"' in response.content.decode()


def test_times_of_today_have_no_date(admin_client):
    job = make_job()
    at = local(job.enqueued_at).strftime("%H:%M:%S")
    assert cells(admin_client.get(changelist()), "enqueued") == [at]


@pytest.mark.parametrize(
    ("status", "columns", "expected"),
    [
        ("READY", {}, "-"),
        (
            "SCHEDULED",
            {"run_after": utc(2125, 1, 2, 3, 4, 5)},
            "waits until 2125-01-02 04:04",
        ),
        ("SUCCESSFUL", {}, "3.0 s"),
        ("FAILED", {}, "3.0 s"),
        ("CANCELLED", {}, "-"),
        # Cancelled while it waited for another attempt.
        ("CANCELLED", {"started_at": utc(2020, 1, 1)}, "-"),
    ],
)
def test_how_long_it_took_or_waits(admin_client, status, columns, expected):
    job_that_is(status, **columns)
    assert cells(admin_client.get(changelist()), "timing") == [expected]


def test_how_long_it_has_been_running(admin_client):
    job_that_is("RUNNING", started_at=timezone.now() - timedelta(hours=2, minutes=3))
    response = admin_client.get(changelist())
    assert cells(response, "timing") == ["2 h 3 min so far"]


def test_an_error_overcome_is_not_listed(admin_client):
    failed_attempt(job_that_is("SUCCESSFUL", attempt=2))
    assert cells(admin_client.get(changelist()), "last_error") == ["-"]


def test_an_error_can_be_read_whole_when_pointed_at(admin_client):
    failed_attempt(job_that_is("FAILED"), error="KeyError:\n  'x'")
    html = admin_client.get(changelist()).content.decode()
    assert 'title="KeyError:\n  &#x27;x&#x27;">KeyError: &#x27;x&#x27;</span>' in html


def test_what_a_job_says_is_text(admin_client):
    job = job_that_is("FAILED", task=MARKUP, queue=MARKUP)
    failed_attempt(job, error=MARKUP)
    response = admin_client.get(changelist(), {"queue": MARKUP, "task": MARKUP})
    assert "<script>alert" not in response.content.decode()
    assert cells(response, "task") == cells(response, "last_error") == [MARKUP]


@pytest.mark.parametrize(("count", "number"), [(1, 7), (50, 7), (51, 6), (70, 6)])
def test_the_number_of_queries_does_not_depend_on_the_jobs(
    admin_client, count, number, django_assert_num_queries
):
    for job in make_jobs(count, status="FAILED"):
        failed_attempt(job)
    # Session, user, the number of jobs, a page of them, queues with a row, queues
    # with READY jobs. If one page is all there is: which jobs are on it.
    with django_assert_num_queries(number) as queries:
        response = admin_client.get(changelist())
    assert len(listed(response)) == min(count, 50)
    assert not [q for q in queries if "traceback" in q["sql"] or "kwargs" in q["sql"]]


def test_jobs_are_never_all_counted(
    admin_client, monkeypatch, django_assert_max_num_queries
):
    monkeypatch.setattr(job_list, "COUNT_LIMIT", 60)
    make_jobs(60)
    assert "60 jobs" in text_of(admin_client.get(changelist()))
    make_jobs(40)
    with django_assert_max_num_queries(7) as queries:
        response = admin_client.get(changelist())
    assert response.context["cl"].paginator.count == 60
    assert "There are more than 60 jobs. The newest 60 are listed" in text_of(response)
    (count,) = (q["sql"] for q in queries if "COUNT(" in q["sql"])
    assert "LIMIT 61" in count


def test_there_are_no_pages_far_back(admin_client, monkeypatch):
    monkeypatch.setattr(job_list, "COUNT_LIMIT", 60)
    make_jobs(120)
    assert len(listed(admin_client.get(changelist(), {"p": "2"}))) == 10
    assert admin_client.get(changelist(), {"p": "3"}).status_code == 302


def test_counting_choices_is_not_offered(admin_client):
    make_job()
    response = admin_client.get(changelist(), {"_facets": "True"})
    assert "Show counts" not in text_of(response)
    assert not response.context["cl"].add_facets


# -- filters


@pytest.mark.parametrize("status", Job.Status.values)
def test_filter_by_status(admin_client, status):
    jobs = {status: job_that_is(status) for status in Job.Status.values}
    response = admin_client.get(changelist(), {"status": status})
    assert listed(response) == [jobs[status]]


def test_filter_by_queue_and_task(admin_client):
    job = make_job(queue="mail", task="shop.renamed")
    make_job(queue="mail")
    make_job(task="shop.renamed")
    response = admin_client.get(changelist(), {"queue": "mail", "task": "shop.renamed"})
    assert listed(response) == [job]


def test_tasks_offered_are_the_registered_ones(admin_client):
    make_job(task="gone.with.the.last.release")
    response = admin_client.get(changelist())
    assert "shop.renamed" in offered(response, "task")
    assert "gone.with.the.last.release" not in offered(response, "task")


def test_queues_offered_are_of_tasks_rows_and_ready_jobs(admin_client):
    Queue.objects.create(name="known")
    make_job(queue="busy")
    job_that_is("SUCCESSFUL", queue="history")
    queues = offered(admin_client.get(changelist()), "queue")
    assert {"default", "mail", "known", "busy"} <= set(queues)
    assert "history" not in queues
    assert queues == sorted(queues)


@pytest.mark.parametrize("name", ["queue", "task"])
def test_what_the_address_asks_for_is_chosen(admin_client, name):
    job = job_that_is("SUCCESSFUL", **{name: "history"})
    job_that_is("SUCCESSFUL")
    response = admin_client.get(changelist(), {name: "history"})
    assert listed(response) == [job]
    assert chosen(response, name) == ["history"]


def test_a_status_that_does_not_exist_finds_nothing(admin_client):
    make_job()
    assert listed(admin_client.get(changelist(), {"status": "NONE"})) == []


def offered(response, name):
    return [choice["display"] for choice in choices(response, name)][1:]


def chosen(response, name):
    return [c["display"] for c in choices(response, name) if c["selected"]]


def choices(response, name):
    changelist = response.context["cl"]
    (spec,) = (s for s in changelist.filter_specs if s.parameter_name == name)
    return list(spec.choices(changelist))


# -- search


@pytest.fixture
def found(admin_client):
    def search(text):
        return listed(admin_client.get(changelist(), {"q": text}))

    return search


def test_search_by_id(found):
    job, _other = make_jobs(2)
    assert found(str(job.pk)) == found(job.pk.hex) == [job]
    assert found(f"  {str(job.pk).upper()} ") == [job]


@pytest.mark.parametrize("digits", [1, 8, 9, 13, 18, 22, 35])
def test_search_by_the_beginning_of_an_id(found, digits):
    job = make_job(pk=UUID("019ab3c4-5678-7abc-8def-0123456789ab"))
    make_job(pk=UUID("119ab3c4-5678-7abc-8def-0123456789ab"))
    make_job(pk=UUID("f19ab3c4-5678-7abc-bdef-0123456789ab"))
    assert found(str(job.pk)[:digits]) == [job]


@pytest.mark.parametrize("variant", "89ab")
def test_the_beginning_of_an_id_finds_all_that_begin_so(found, variant):
    jobs = [
        make_job(pk=UUID(f"019ab3c4-{time}-7{digits}-{variant}{digits}-0123456789ab"))
        for time in ("0000", "5678", "ffff")
        for digits in ("000", "abc", "fff")
    ]
    make_job(pk=UUID("019ab3c3-ffff-7fff-bfff-ffffffffffff"))
    make_job(pk=UUID("019ab3c5-0000-7000-8000-000000000000"))
    assert found("019ab3c4") == jobs[::-1]


def test_search_by_task(found):
    job = make_job(task="shop.renamed")
    gone = make_job(task="gone.with.the.last.release")
    make_job()
    assert found("shop.renamed") == [job]
    assert found("gone.with.the.last.release") == [gone]


def test_a_task_named_like_the_beginning_of_an_id(found, monkeypatch):
    monkeypatch.setattr(job_list, "find_task", {"feed": "a task"}.get)
    job = make_job(task="feed")
    assert found("feed") == [job]


@pytest.mark.parametrize(
    "text", ["add", "%", "renam", "0" * 33, "' OR 1=1 --", "-", "é"]
)
def test_a_search_for_something_else_finds_nothing(found, text):
    make_job(task="shop.renamed")
    assert found(text) == []


def test_a_search_says_what_can_be_searched_for(admin_client):
    assert "the beginning of one" in text_of(admin_client.get(changelist()))


def test_a_search_reads_no_patterns(admin_client, django_assert_max_num_queries):
    with django_assert_max_num_queries(7) as queries:
        admin_client.get(changelist(), {"q": "mail"})
    assert not [q for q in queries if "LIKE" in q["sql"].upper()]
