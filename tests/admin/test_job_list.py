import re
from datetime import timedelta
from html import unescape
from uuid import UUID

import pytest
from django.utils import timezone

from django_bgtasks.models import Job, Queue
from django_bgtasks.store import searching, walking
from django_bgtasks.store.selection import first_id_of
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
    assert cells(response, "task_and_labels") == ["tests.sample.tasks.add"]
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
    assert (
        cells(response, "task_and_labels") == cells(response, "last_error") == [MARKUP]
    )


@pytest.mark.parametrize(("count", "number"), [(1, 6), (50, 6), (51, 7), (70, 7)])
def test_the_number_of_queries_does_not_depend_on_the_jobs(
    admin_client, count, number, django_assert_num_queries
):
    for job in make_jobs(count, status="FAILED"):
        failed_attempt(job)
    # Session, user, queues with a row, queues with READY jobs, which jobs are on the
    # page, and they. If there are others: how many.
    with django_assert_num_queries(number) as queries:
        response = admin_client.get(changelist())
    assert len(listed(response)) == min(count, 50)
    assert not [q for q in queries if "traceback" in q["sql"] or "kwargs" in q["sql"]]


@pytest.mark.parametrize(
    ("address", "number"),
    [
        # As above, with how far may be looked, twice if something is counted there.
        ("task=tests.sample.tasks.add", 9),
        ("status=SUCCESSFUL", 7),
        ("status=FAILED", 6),
        # How many there are, and which.
        ("status=READY", 7),
        ("status=RUNNING", 6),
        ("exception=builtins.ValueError", 7),
        ("schedule=nightly", 5),
        ("q=a%3D1", 6),
        ("q=nothing+of+this+kind", 6),
    ],
)
def test_the_number_of_queries_of_filters(
    admin_client, address, number, django_assert_num_queries
):
    for status in Job.Status.values:
        failed_attempt(job_that_is(status))
    make_jobs(60, status="SUCCESSFUL", finished_at=timezone.now())
    with django_assert_num_queries(number):
        admin_client.get(f"{changelist()}?{address}")


def test_jobs_are_never_all_counted(
    admin_client, monkeypatch, django_assert_max_num_queries
):
    monkeypatch.setattr(walking, "BUDGET", 60)
    make_jobs(60)
    assert "60 jobs" in text_of(admin_client.get(changelist()))
    make_jobs(40)
    with django_assert_max_num_queries(7) as queries:
        response = admin_client.get(changelist())
    assert "more than 60 jobs" in text_of(response)
    (count,) = (q["sql"] for q in queries if "COUNT(" in q["sql"])
    assert "LIMIT 61" in count
    assert not [q for q in queries if "OFFSET" in q["sql"]]


# -- pages


def test_pages_lead_to_one_another(admin_client):
    jobs = make_jobs(120)[::-1]
    pages = [admin_client.get(changelist())]
    assert links(pages[0]).keys() == {"next"}
    while "next" in links(pages[-1]):
        pages.append(admin_client.get(changelist() + links(pages[-1])["next"]))
    assert [len(listed(page)) for page in pages] == [50, 50, 20]
    assert [job for page in pages for job in listed(page)] == jobs

    back = admin_client.get(changelist() + links(pages[-1])["prev"])
    assert listed(back) == jobs[50:100]
    first = admin_client.get(changelist() + links(back)["prev"])
    assert listed(first) == jobs[:50]
    assert links(first).keys() == {"next"}
    assert listed(admin_client.get(changelist() + links(first)["next"])) == jobs[50:100]


def test_pages_keep_the_filters(admin_client):
    make_jobs(60, queue="mail")
    make_jobs(60)
    response = admin_client.get(changelist(), {"queue": "mail"})
    response = admin_client.get(changelist() + links(response)["next"])
    assert {job.queue for job in listed(response)} == {"mail"}
    # Another filter begins with its first page.
    html = response.content.decode()
    assert "before=" not in "".join(re.findall(r'href="[?]([^"]*status=[^"]*)"', html))


def test_jobs_that_come_meanwhile_shift_no_page(admin_client):
    jobs = make_jobs(60)[::-1]
    response = admin_client.get(changelist())
    make_jobs(30)
    response = admin_client.get(changelist() + links(response)["next"])
    assert listed(response) == jobs[50:]


def test_a_page_far_back_skips_nothing(admin_client, django_assert_max_num_queries):
    make_jobs(60)
    response = admin_client.get(changelist())
    with django_assert_max_num_queries(6) as queries:
        admin_client.get(changelist() + links(response)["next"])
    assert not [q for q in queries if "OFFSET" in q["sql"] or "COUNT(" in q["sql"]]


@pytest.mark.parametrize("place", ["nonsense", "1_x", "99999999999999999999_x", "-1"])
def test_a_link_that_was_cut_is_the_first_page(admin_client, place):
    job = make_job()
    for side in ("before", "after"):
        assert listed(admin_client.get(changelist(), {side: place})) == [job]


def test_a_place_in_another_order_is_the_first_page(admin_client):
    job = job_that_is("FAILED")
    place = {"status": "FAILED", "before": str(job.pk)}
    assert listed(admin_client.get(changelist(), place)) == [job]


def test_a_page_that_is_not_full_says_so(admin_client, monkeypatch):
    monkeypatch.setattr(walking, "BUDGET", 60)
    old = make_job(task="rare")
    make_jobs(100)
    response = admin_client.get(changelist(), {"task": "rare"})
    assert listed(response) == []
    assert "None among the 60 jobs" in text_of(response)
    assert "Look further back" in text_of(response)
    response = admin_client.get(changelist() + links(response)["next"])
    assert listed(response) == [old]
    assert "Look further back" not in text_of(response)


def links(response):
    html = response.content.decode()
    found = re.findall(r'<a href="([^"]*)" rel="(prev|next)"', html)
    return {rel: unescape(url) for url, rel in found}


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


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"status": "NONE"}, "“NONE” cannot be the value of the filter “status”."),
        ({"worker": "me"}, "“me” cannot be the value of the filter “worker”."),
        ({"attempts": "-1"}, "“-1” cannot be the value of the filter “attempts”."),
        ({"enqueued_after": "soon"}, "cannot be the value of the filter"),
        ({"task__contains": "x"}, "There is no filter “task__contains”."),
        ({"search": "x"}, "There is no filter “search”."),
        ({"queue": MARKUP + "\0"}, "cannot be the value of the filter “queue”."),
    ],
)
def test_a_filter_that_cannot_be_says_so(admin_client, params, message):
    make_job()
    response = admin_client.get(changelist(), params)
    assert listed(response) == []
    assert message in text_of(response)
    assert "<script>alert" not in response.content.decode()


@pytest.mark.parametrize("name", ["status", "queue", "task"])
def test_the_choices_of_the_sidebar_are_filters(admin_client, name):
    """Each is a parameter of the selection, and finds what that finds."""
    wanted = {"status": "FAILED", "queue": "mail", "task": "shop.renamed"}
    job = job_that_is("FAILED", queue="mail", task="shop.renamed")
    job_that_is("SUCCESSFUL")
    response = admin_client.get(changelist())
    (choice,) = (
        c for c in choices(response, name) if wanted[name] in c["query_string"]
    )
    response = admin_client.get(changelist() + choice["query_string"])
    assert listed(response) == [job]
    assert [(c.name, c.without) for c in response.context["cl"].chips] == [(name, "?")]


def test_filters_that_are_set_can_be_taken_away(admin_client):
    make_job(queue="mail", tags=["late"])
    make_job(queue="mail")
    response = admin_client.get(changelist(), {"queue": "mail", "tag": "late"})
    assert len(listed(response)) == 1
    chips = {chip.name: chip for chip in response.context["cl"].chips}
    assert {name: chip.value for name, chip in chips.items()} == {
        "queue": "mail",
        "tag": "late",
    }
    assert "Remove the filter Tag: late" in text_of(response)
    response = admin_client.get(changelist() + chips["tag"].without)
    assert len(listed(response)) == 2


def test_the_form_of_more_filters(admin_client):
    job = make_job(tags=["late"], queue="mail")
    make_job(tags=["late"])
    response = admin_client.get(changelist(), {"queue": "mail"})
    html = response.content.decode()
    assert '<details class="bgtasks-more">' in html
    form = html.partition('class="bgtasks-filters"')[2].partition("</form>")[0]
    names = re.findall(r'name="([^"]*)"', form)
    assert names[0] == "queue"  # kept
    assert all(f'for="filter_{name}"' in form for name in names[1:])
    # It sends all its fields; the address has only what says something.
    sent = {**dict.fromkeys(names, ""), "queue": "mail", "tag": "late"}
    response = admin_client.get(changelist(), sent)
    assert response.url == changelist() + "?queue=mail&tag=late"
    response = admin_client.get(response.url)
    assert listed(response) == [job]
    assert '<details class="bgtasks-more" open>' in response.content.decode()
    assert 'name="tag" value="late"' in response.content.decode()


def test_times_are_read_in_the_reader_s_zone_and_shown_so(admin_client):
    at = utc(2025, 7, 1, 10, 0, 5)
    job = make_job(pk=first_id_of(at))
    make_job(pk=first_id_of(at - timedelta(seconds=1)))
    # Europe/Berlin.
    params = {"enqueued_after": "2025-07-01T12:00:05"}
    response = admin_client.get(changelist(), params)
    assert listed(response) == [job]
    assert 'value="2025-07-01T12:00:05"' in response.content.decode()
    (chip,) = response.context["cl"].chips
    assert (chip.label, chip.value) == ("Enqueued after", "2025-07-01 12:00:05")


@pytest.mark.parametrize(
    "params",
    [
        {"status": "FAILED", "task": "a", "exception": "builtins.ValueError"},
        {"queue": "a"},
        {"schedule": "a"},
        {"worker": "01900000-0000-7000-8000-000000000001"},
        {"parent": "01900000-0000-7000-8000-000000000001"},
        {"creator": "auth.user:1"},
        {"tag": "a"},
        {"attempts": "2"},
        {"min_attempts": "2"},
    ],
    ids="&".join,
)
def test_what_other_pages_link_to(admin_client, params):
    columns = {
        "status": "FAILED",
        "task": "a",
        "queue": "a",
        "schedule": "a",
        "last_worker": UUID("01900000-0000-7000-8000-000000000001"),
        "parent": UUID("01900000-0000-7000-8000-000000000001"),
        "creator": "auth.user:1",
        "tags": ["a"],
        "attempt": 2,
        "finished_at": timezone.now(),
    }
    job = make_job(**columns)
    failed_attempt(job)
    make_job()
    assert listed(admin_client.get(changelist(), params)) == [job]


def test_names_and_tags_are_shown_with_the_task(admin_client):
    make_job(verbose_name=MARKUP, tags=["late", "big"])
    response = admin_client.get(changelist())
    (cell,) = cells(response, "task_and_labels")
    assert cell == f"{MARKUP} late big tests.sample.tasks.add"
    assert "<script>alert" not in response.content.decode()


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
    monkeypatch.setattr(searching, "find_task", {"feed": "a task"}.get)
    job = make_job(task="feed")
    assert found("feed") == [job]


def test_search_by_an_error(found):
    job = job_that_is("FAILED")
    failed_attempt(job, error="OSError: the disk is full")
    failed_attempt(job, 2, error="OSError: the disk is full")
    failed_attempt(job_that_is("FAILED"), error="ValueError: no")
    assert found("disk is FULL") == [job]
    assert found("%") == []


def test_search_by_an_argument(found):
    number = make_job(args=[42])
    text = make_job(args=["42", 7])
    named = make_job(args=[1], kwargs={"b": 42})
    assert found("a=42") == [text, number]
    assert found("b=42") == [named]
    assert found("b=7") == [text]
    assert found("a=4") == found("c=42") == []


def test_what_is_quoted_is_no_number(found, only):
    only("sqlite", "postgresql")  # MariaDB compares them without their quotes.
    make_job(args=[42])
    text = make_job(args=["42"])
    assert found(' a = "42"') == [text]


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (None, "null"), (1.5, "1.5"), ("ä b", "ä b"), ("x=y", "x=y")],
)
def test_arguments_of_other_kinds(found, value, text):
    job = make_job(task="tests.sample.tasks.echo", args=[value])
    make_job(task="tests.sample.tasks.echo", args=["another"])
    assert found(f"value={text}") == [job]


@pytest.mark.parametrize(
    "text",
    ["NaN", "-Infinity", "1e999", '"\\u0000"', '"\\ud800"', "[" * 5000, "9" * 5000],
)
def test_what_no_argument_can_be_is_a_text(found, text):
    make_job(task="tests.sample.tasks.echo", args=[1])
    assert found(f"value={text}") == []


@pytest.mark.parametrize("name", ["in", "contains", "isnull", "has_key", "0"])
def test_arguments_named_like_lookups(found, name):
    make_job(task="tests.sample.tasks.keep", kwargs={"x": 1})
    job = make_job(task="tests.sample.tasks.keep", kwargs={name: "1"})
    assert found(f"{name}=1") == ([] if name == "0" else [job])


def test_sensitive_arguments_are_not_searched(found):
    """To find a job by its password would be to see it."""
    path = "tests.sample.tasks.pay"
    job = make_job(task=path, args=["ada", "secret"], kwargs={"card": "4711"})
    make_job(task=path, args=["eve"], kwargs={"password": "secret"})
    make_job(task="gone", kwargs={"password": "secret", "user": "ada"})
    assert found("user=ada") == [job]
    assert found("password=secret") == found("card=4711") == []


def test_arguments_are_searched_by_those_who_may_see_them(member):
    job = make_job(args=[42])
    for permissions, expected in (
        (["view_job"], []),
        (["view_job", "view_job_arguments"], [job]),
    ):
        client = member(*permissions)
        response = client.get(changelist(), {"q": "a=42"})
        assert listed(response) == expected
        assert ("user_id=42" in text_of(response)) == bool(expected)


def test_filters_and_a_search_together(admin_client):
    job = make_job(args=[42], queue="mail")
    make_job(args=[42])
    response = admin_client.get(changelist(), {"q": "a=42", "queue": "mail"})
    assert listed(response) == [job]


@pytest.mark.parametrize(
    "text", ["add", "%", "renam", "0" * 33, "' OR 1=1 --", "-", "é"]
)
def test_a_search_for_something_else_finds_nothing(found, text):
    make_job(task="shop.renamed")
    assert found(text) == []


def test_a_search_says_what_can_be_searched_for(admin_client):
    assert "An id or its beginning" in text_of(admin_client.get(changelist()))
