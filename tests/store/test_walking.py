"""Going through jobs: the same ones by every way, each once, never too many rows."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_bgtasks.models import Job
from django_bgtasks.models.job import new_id
from django_bgtasks.store import walking
from django_bgtasks.store.selection import Selection, first_id_of
from django_bgtasks.store.walking import (
    ByEndWalk,
    ByErrorWalk,
    ByIdWalk,
    Cursor,
    FewWalk,
    walk,
)
from tests.admin.pages import failed_attempt, job_that_is
from tests.factories import make_job, make_jobs

pytestmark = pytest.mark.django_db

NOW = timezone.now()
PARENT = UUID("01900000-0000-7000-8000-000000000001")

#: What may be asked for, and the way that it goes if there are few and if many.
WAYS = [
    ({}, ByIdWalk, ByIdWalk),
    ({"status": "SUCCESSFUL"}, ByEndWalk, ByEndWalk),
    ({"status": "FAILED"}, ByEndWalk, ByEndWalk),
    ({"status": "READY"}, FewWalk, ByIdWalk),
    ({"status": "RUNNING"}, FewWalk, FewWalk),
    ({"status": "SCHEDULED", "queue": "mail"}, FewWalk, ByIdWalk),
    ({"status": "FAILED,READY"}, FewWalk, ByIdWalk),
    ({"status": "FAILED", "task": "a"}, ByEndWalk, ByEndWalk),
    ({"queue": "mail"}, ByIdWalk, ByIdWalk),
    ({"task": "a"}, ByIdWalk, ByIdWalk),
    ({"task": "none"}, ByIdWalk, ByIdWalk),
    ({"tag": "late"}, ByIdWalk, ByIdWalk),
    ({"creator": "auth.user:1"}, ByIdWalk, ByIdWalk),
    ({"schedule": "nightly", "task": "a"}, ByIdWalk, ByIdWalk),
    ({"parent": str(PARENT), "status": "FAILED"}, ByIdWalk, ByIdWalk),
    ({"worker": str(PARENT)}, ByIdWalk, ByIdWalk),
    ({"attempts": "2"}, ByIdWalk, ByIdWalk),
    ({"min_attempts": "1"}, ByIdWalk, ByIdWalk),
    ({"exception": "builtins.ValueError"}, FewWalk, ByErrorWalk),
    ({"exception": "builtins.OSError", "queue": "mail"}, FewWalk, ByErrorWalk),
    ({"exception": "builtins.ValueError", "status": "FAILED"}, FewWalk, ByErrorWalk),
    ({"exception": "builtins.ValueError", "search": "two"}, FewWalk, ByErrorWalk),
    ({"search": "number"}, ByErrorWalk, ByErrorWalk),
    ({"search": "two", "status": "FAILED"}, ByErrorWalk, ByErrorWalk),
    ({"search": "a=1"}, ByIdWalk, ByIdWalk),
    ({"search": "some.old.task"}, ByIdWalk, ByIdWalk),
    ({"search": "0"}, ByIdWalk, ByIdWalk),
    ({"enqueued_after": "2025-06-02", "queue": "mail"}, ByIdWalk, ByIdWalk),
    ({"enqueued_before": "2025-06-02"}, ByIdWalk, ByIdWalk),
    ({"finished_after": "2025-06-02T12:00"}, ByIdWalk, ByIdWalk),
    ({"finished_before": "2025-06-02T12:00"}, ByIdWalk, ByIdWalk),
    ({"status": "FAILED", "finished_before": "2025-06-03"}, ByEndWalk, ByEndWalk),
]


@pytest.fixture
def jobs():
    """Of all kinds, over some days, in pairs that ended in the same moment."""
    # At an hour at which all zones of the tests have this day.
    first = timezone.now().replace(year=2025, month=6, day=1, hour=8)
    for number in range(36):
        status, turn = Job.Status.values[number % 6], number // 6
        at = first + timedelta(hours=2 * number)
        ended = status in ("SUCCESSFUL", "FAILED", "CANCELLED")
        job = job_that_is(
            status,
            pk=UUID(int=first_id_of(at).int + 7),
            enqueued_at=at,
            finished_at=at + timedelta(hours=number % 7) if ended else None,
            task=["a", "some.old.task", "tests.sample.tasks.add"][turn % 3],
            queue=["default", "mail"][turn % 2],
            args=[number % 4],
            attempt=(number + turn) % 3,
            tags=["late"] if number % 5 == 0 else [],
            creator="auth.user:1" if number % 4 == 0 else None,
            schedule="nightly" if number % 3 == 0 else None,
            parent=PARENT if number % 5 == 0 else None,
            last_worker=PARENT if number % 6 == 3 else None,
        )
        for attempt in range(job.attempt):
            kind = ["ValueError", "OSError"][(turn + attempt) % 2]
            failed_attempt(
                job,
                attempt,
                exception_class_path=f"builtins.{kind}",
                error=f"{kind}: number {'two' if attempt else 'one'}",
            )


@pytest.mark.parametrize("budget", [3, 10_000])
@pytest.mark.parametrize(
    ("params", "few", "many"), WAYS, ids=[str(way[0]) for way in WAYS]
)
def test_every_way_leads_to_the_jobs_of_the_selection(
    jobs, monkeypatch, params, few, many, budget
):
    monkeypatch.setattr(walking, "BUDGET", budget)
    selection = Selection.from_params(params, sees_arguments=True)
    expected = in_order(selection)
    assert bool(expected) == (params != {"task": "none"})
    way = walk(selection)
    assert isinstance(way, few if budget > 3 or len(expected) <= 1 else (few, many))

    # Back to the oldest, and forth again.
    back = [way.page(4)]
    while back[-1].older:
        back.append(walk(selection).page(4, before=back[-1].older))
        assert len(back) < 100
    assert [pk for page in back for pk in page.ids] == expected
    assert all(len(page.ids) == 4 or page.is_cut for page in back[:-1])
    forth = [walk(selection).page(4, after=back[-1].newer or Cursor(new_id()))]
    while back[-1].newer and forth[-1].newer:
        forth.append(walk(selection).page(4, after=forth[-1].newer))
        assert len(forth) < 100
    if back[-1].newer:
        found = [pk for page in forth[::-1] for pk in page.ids]
        assert [*found, *back[-1].ids] == expected
    else:
        assert len(back) == 1

    batches = list(walking.batches(selection, 4))
    assert [pk for ids, _ in batches for pk in ids] == expected
    counted = walk(selection).count()
    assert counted.number == len(expected) or counted.is_more
    assert counted.number <= len(expected)
    assert budget == 3 or not counted.is_more


def in_order(selection):
    jobs = selection.jobs().order_by("-pk")
    if walk(selection).by_end:
        jobs = jobs.order_by("-finished_at", "-pk")
    return list(jobs.values_list("pk", flat=True))


@pytest.mark.parametrize("budget", [1, 10_000])
def test_the_exception_is_that_of_the_last_attempt(monkeypatch, budget):
    """As failures are folded on the dashboard."""
    monkeypatch.setattr(walking, "BUDGET", budget)
    kinds = ("builtins.ValueError", "builtins.OSError")
    both = [job_that_is("FAILED"), job_that_is("FAILED")]
    for job, order in zip(both, (kinds, kinds[::-1]), strict=True):
        for number, kind in enumerate(order, 1):
            failed_attempt(job, number, exception_class_path=kind)
    for job, kind in zip(both, kinds[::-1], strict=True):
        selection = Selection(exception=kind)
        found = [pk for ids, _ in walking.batches(selection, 1) for pk in ids]
        assert found == in_order(selection) == [job.pk]


def test_the_way_depends_on_how_many_there_are(monkeypatch):
    monkeypatch.setattr(walking, "BUDGET", 3)
    make_jobs(3)
    assert isinstance(walk(Selection(status=("READY",))), FewWalk)
    job = make_job()
    assert isinstance(walk(Selection(status=("READY",))), ByIdWalk)
    selection = Selection(exception="builtins.ValueError")
    for number in range(3):
        failed_attempt(job, number)
    assert isinstance(walk(selection), FewWalk)
    failed_attempt(job, 4)
    assert isinstance(walk(selection), ByErrorWalk)


def test_no_more_rows_are_looked_at_than_the_budget_allows(monkeypatch):
    monkeypatch.setattr(walking, "BUDGET", 10)
    make_jobs(5, task="rare")
    make_jobs(28)
    way, pages = walk(Selection(task="rare")), [None]
    while pages[-1] is None or pages[-1].older:
        pages.append(way.page(5, before=pages[-1] and pages[-1].older))
    assert [(len(page.ids), page.is_cut) for page in pages[1:]] == [
        (0, True),
        (0, True),
        (2, True),
        (3, False),
    ]


def test_all_that_fit_are_not_limited_by_the_budget(monkeypatch):
    monkeypatch.setattr(walking, "BUDGET", 2)
    make_jobs(6, schedule="nightly", status="FAILED", finished_at=NOW)
    for selection in (
        Selection(),
        Selection(schedule="nightly"),
        Selection(status=("FAILED",)),
        Selection(status=("FAILED",), finished_before=NOW + timedelta(1)),
    ):
        with CaptureQueriesContext(connection) as queries:
            page = walk(selection).page(5)
        assert (len(page.ids), page.is_cut) == (5, False)
        assert len(queries) == 1


def test_an_empty_page_leads_back_to_all():
    jobs = make_jobs(3, status="FAILED", finished_at=NOW)
    ids = sorted((job.pk for job in jobs), reverse=True)
    for selection, moment in (Selection(), None), (Selection(status=("FAILED",)), NOW):
        newest = walk(selection).page(5, after=Cursor(ids[0], moment))
        assert newest.ids == []
        assert walk(selection).page(5, before=newest.older).ids == ids
        oldest = walk(selection).page(5, before=Cursor(ids[-1], moment))
        assert oldest.ids == []
        assert walk(selection).page(5, after=oldest.newer).ids == ids


def test_many_that_ended_in_the_same_moment(monkeypatch):
    monkeypatch.setattr(walking, "BUDGET", 3)
    make_jobs(10, status="FAILED", finished_at=NOW, task="a")
    selection = Selection(status=("FAILED",), task="a")
    batches = list(walking.batches(selection, 4))
    assert [len(ids) for ids, _ in batches] == [4, 4, 2]
    assert [pk for ids, _ in batches for pk in ids] == in_order(selection)


def test_a_job_with_more_attempts_than_are_looked_at(monkeypatch):
    monkeypatch.setattr(walking, "BUDGET", 3)
    jobs = [job_that_is("FAILED") for _ in range(3)]
    for number in range(5):
        failed_attempt(jobs[1], number)
        failed_attempt(jobs[0], number)
    selection = Selection(search="ValueError", sees_arguments=True)
    batches = list(walking.batches(selection, 2))
    assert [pk for ids, _ in batches for pk in ids] == [jobs[1].pk, jobs[0].pk]


def test_no_job_is_taken_that_came_later():
    old, upto = make_job(), new_id()
    make_job()
    for status in ((), ("READY",)):
        selection = Selection(status=status, upto=upto)
        assert list(walk(selection).page(5).ids) == [old.pk]


@pytest.mark.parametrize(
    "cursor",
    [Cursor(new_id()), Cursor(new_id(), NOW), Cursor(new_id(), NOW + timedelta(1))],
)
def test_places_as_text(cursor):
    assert Cursor.from_text(str(cursor)) == cursor


@pytest.mark.parametrize("text", ["", "x", "1_x", f"x_{PARENT}", f"{10**30}_{PARENT}"])
def test_what_is_no_place(text):
    with pytest.raises(ValueError, match="badly formed|invalid literal|_"):
        Cursor.from_text(text)


def test_a_place_of_the_other_order_is_none():
    job = job_that_is("FAILED")
    for selection, place in (
        (Selection(), Cursor(PARENT, NOW)),
        (Selection(status=("FAILED",)), Cursor(PARENT)),
    ):
        assert list(walk(selection).page(5, before=place).ids) == [job.pk]
