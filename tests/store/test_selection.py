"""What addresses say of jobs, and back."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.conf import settings
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from django_bgtasks.models import Job
from django_bgtasks.models.job import new_id
from django_bgtasks.store.selection import (
    PARAMETERS,
    Bounds,
    Selection,
    SelectionError,
    first_id_of,
    last_id_before,
)

WORDS = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), min_size=1
).filter(lambda text: text == text.strip())
MOMENTS = st.datetimes(
    datetime(1971, 1, 1),
    datetime(2200, 1, 1),
    timezones=st.just(UTC) if settings.USE_TZ else st.none(),
)
VALUES = {
    "status": st.lists(st.sampled_from(Job.Status.values), min_size=1, unique=True).map(
        tuple
    ),
    **dict.fromkeys(
        ("queue", "task", "tag", "creator", "schedule", "exception", "search"), WORDS
    ),
    **dict.fromkeys(("worker", "parent"), st.uuids()),
    **dict.fromkeys(("attempts", "min_attempts"), st.integers(0, 2**31 - 1)),
    **dict.fromkeys(
        ("enqueued_after", "enqueued_before", "finished_after", "finished_before"),
        MOMENTS,
    ),
}


def test_every_parameter_is_a_field():
    fields = set(Selection.__dataclass_fields__)
    assert set(PARAMETERS) == set(VALUES) == fields - {"sees_arguments", "upto"}


@given(st.fixed_dictionaries({}, optional=VALUES))
def test_what_is_written_is_read_again(values):
    selection = Selection(**values)
    params = selection.as_params()
    assert all(isinstance(text, str) for text in params.values())
    assert Selection.from_params(params) == selection


def test_what_is_empty_says_nothing():
    assert Selection.from_params({"queue": " ", "status": ""}) == Selection()
    assert Selection().as_params() == {}
    assert not Selection().condition()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("status", "LOST"),
        ("status", "READY,"),
        ("worker", "1"),
        ("attempts", "x"),
        ("attempts", "-1"),
        ("min_attempts", str(2**31)),
        ("queue", "a\x00b"),
        ("enqueued_after", "soon"),
        ("enqueued_after", "2020-13-01T00:00"),
        ("finished_before", "2020-02-30"),
        # In some zone, it is already another millennium.
        ("finished_before", "9999-12-31T23:59:59+00:00"),
        ("enqueued_after", "0001-01-01"),
        ("sees_arguments", "1"),
        ("upto", "2d741bc9-fbd7-4bf5-b33f-38f59961da0f"),
        ("status__in", "READY"),
    ],
)
def test_what_cannot_be_is_refused(name, text):
    with pytest.raises(SelectionError, match=f"“{name}”"):
        Selection.from_params({name: text})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-07-01", datetime(2025, 6, 30, 22, tzinfo=UTC)),
        ("2025-07-01T12:00", datetime(2025, 7, 1, 10, tzinfo=UTC)),
        ("2025-07-01 12:00:05.5", datetime(2025, 7, 1, 10, 0, 5, 500000, tzinfo=UTC)),
        ("2025-07-01T12:00:00Z", datetime(2025, 7, 1, 12, tzinfo=UTC)),
    ],
)
def test_times(text, expected):
    moment = Selection.from_params({"enqueued_after": text}).enqueued_after
    assert moment is not None
    # Without zones, they are those of the site, Europe/Berlin.
    assert moment.astimezone(UTC) == expected


def test_ids_hold_the_time_of_their_making():
    before = timezone.now() - timedelta(milliseconds=1)
    one = new_id()
    after = timezone.now() + timedelta(milliseconds=2)
    assert first_id_of(before) <= one <= last_id_before(after)
    assert last_id_before(before) < first_id_of(before)
    assert {first_id_of(before).version, last_id_before(before).version} == {7}
    early = datetime(1900, 1, 1, tzinfo=UTC)
    assert first_id_of(early) == UUID("00000000-0000-7000-8000-000000000000")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Bounds(), Bounds(), Bounds()),
        (Bounds(1, 5), Bounds(), Bounds(1, 5)),
        (Bounds(1, 5), Bounds(2, 9), Bounds(2, 5)),
        (Bounds(None, 5), Bounds(2), Bounds(2, 5)),
        (Bounds(3), Bounds(2), Bounds(3)),
    ],
)
def test_bounds_within_bounds(one, other, expected):
    assert one.within(other) == other.within(one) == expected


def test_times_of_the_site_need_no_zone():
    moment = timezone.now()
    selection = Selection(finished_after=moment)
    assert Selection.from_params(selection.as_params()) == selection
