import copy
import dataclasses
import enum
import json
import logging
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from django_bgtasks import NotJSON
from django_bgtasks.arguments import normalize, normalize_result, restore_call
from django_bgtasks.conf import get_settings
from django_bgtasks.encoding import (
    TAG,
    RichEncoder,
    Tagged,
    decode,
    decode_known,
    get_encoder,
)
from django_bgtasks.exceptions import CannotDecode, InvalidSetting
from django_bgtasks.models import Job
from django_bgtasks.redaction import MASK, Secrets
from tests.factories import make_job
from tests.sample import tasks as sample
from tests.sample import values
from tests.sample.values import (
    Bits,
    Colour,
    Money,
    Note,
    Outer,
    Plain,
    Point,
    Right,
    Size,
    Status,
    WithDescriptor,
    Words,
)

RICH = "django_bgtasks.encoding.RichEncoder"
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def rich(settings):
    settings.BGTASKS = {**settings.BGTASKS, "ENCODER": RICH}


EXAMPLES = [
    datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN),
    datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
    datetime(2026, 10, 25, 2, 30, fold=1),
    datetime(1, 1, 1, 0, 0, 0, 1),
    datetime(2026, 1, 1, tzinfo=UTC),
    datetime(2026, 1, 1, tzinfo=ZoneInfo("UTC")),
    datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1), "CET")),
    datetime(2026, 1, 1, tzinfo=timezone(timedelta(seconds=-3723))),
    time(23, 59, tzinfo=timezone(timedelta(hours=-3))),
    time(2, 30, tzinfo=BERLIN, fold=1),
    date.max,
    timedelta.max,
    timedelta(microseconds=-1),
    Decimal("1E+3"),
    Decimal("-0.00"),
    Decimal("sNaN123"),
    Decimal("-Infinity"),
    Decimal("1." + "3" * 200),
    UUID(int=1),
    Colour.RED,
    Colour.POINT,
    Size.LARGE,
    Status.OPEN,
    Outer.Kind.ONE,
    Right.READ | Right.WRITE,
    Right(0),
    Bits(1 | 8),
    Note("text", more=[Point(1, {"a": Decimal("1.0")})]),
    Point(Note("inside"), Size.SMALL),
    Outer.Inner("text", extra="more"),
]


def as_row(value):
    """Through JSON text, as a row has it."""
    return json.loads(json.dumps(normalize(value, "args[0]"), allow_nan=False))


def is_same(one, other):
    # Equality knows nothing of fold, exponents or NaN; repr does.
    return type(one) is type(other) and repr(one) == repr(other)


@pytest.mark.once
def test_values_come_back_as_they_were(rich):
    for value in EXAMPLES:
        assert is_same(decode(as_row(value)), value)


@pytest.mark.once
def test_a_field_without_a_value_has_none_afterwards(rich):
    assert not hasattr(decode(as_row(Point(1))), "later")
    point = Point(1)
    object.__setattr__(point, "later", Decimal(2))
    assert decode(as_row(point)).later == Decimal(2)


ZONES = st.one_of(
    st.none(),
    st.timezones(),
    st.integers(-80_000, 80_000).map(lambda s: timezone(timedelta(seconds=s))),
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**60), 2**60),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    st.datetimes(timezones=ZONES, allow_imaginary=True),
    st.builds(
        lambda moment, fold: moment.replace(fold=fold),
        st.datetimes(timezones=ZONES),
        st.integers(0, 1),
    ),
    st.dates(),
    st.times(timezones=ZONES),
    st.timedeltas(),
    st.decimals(),
    st.uuids(),
    st.sampled_from([*Colour, *Size, *Status]),
    st.integers(0, 3).map(Right),
    st.integers(0, 2**20).map(Bits),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from("abc"), inner, max_size=1),
        st.builds(Point, inner, inner),
        st.builds(Note, st.just("text"), more=inner),
    ),
    max_leaves=6,
)


@pytest.mark.once
@hypothesis_settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(value=VALUES)
def test_any_value_comes_back_from_text(rich, value):
    stored = as_row(value)
    before = copy.deepcopy(stored)
    assert is_same(decode(stored), value)
    assert stored == before


@pytest.mark.django_db
@hypothesis_settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(given=st.lists(VALUES, min_size=5, max_size=20))
def test_any_value_comes_back_from_a_row(rich, given):
    job = make_job(args=[normalize(value, "args") for value in [*EXAMPLES, *given]])
    args, _ = restore_call(Job.objects.get(pk=job.pk).args, {})
    assert all(map(is_same, args, [*EXAMPLES, *given]))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["keep", "akeep"])
def test_a_task_gets_values_and_its_row_keeps_json(rich, drain, job_of, name):
    when = datetime(2026, 1, 1, tzinfo=BERLIN)
    result = getattr(sample, name)(when, [Size.LARGE], price=Decimal("1.50"))
    assert result.args == [when, [Size.LARGE]]
    assert result.kwargs == {"price": Decimal("1.50")}
    drain()
    [(args, kwargs)] = sample.calls
    assert is_same(args, (when, [Size.LARGE]))
    assert is_same(kwargs, {"price": Decimal("1.50")})
    assert job_of(result).kwargs == {"price": {TAG: "decimal", "value": "1.50"}}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["echo", "echo_atomically"])
def test_what_a_task_returns_comes_back(rich, drain, job_of, settings, name, caplog):
    value = [Point(Decimal("1.0"), Status.OPEN), {"at": date(2026, 1, 1)}]
    result = getattr(sample, name)(value)
    drain()
    # Nor did a success that was recorded with the body's work fail afterwards.
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
    # What was stored can be read without the setting.
    settings.BGTASKS = {**settings.BGTASKS, "ENCODER": None}
    result.refresh()
    assert result.status == "SUCCESSFUL"
    assert is_same(result.return_value, value)
    assert job_of(result).result[1] == {"at": {TAG: "date", "value": "2026-01-01"}}


@pytest.mark.once
def test_no_code_of_a_dataclass_or_an_enum_runs(rich):
    rows = [as_row(Note("text")), as_row(Right(3))]
    del Right._value2member_map_[3]
    values.ran.clear()
    note, rights = decode(rows)
    assert values.ran == []
    assert (note, rights) == (Note("text"), Right.READ | Right.WRITE)


def row(kind, **fields):
    return {TAG: kind, **fields}


def named(name, **fields):
    return row("dataclass", **{"class": f"{values.__name__}:{name}"}, **fields)


@pytest.mark.once
@pytest.mark.parametrize(
    ("stored", "told"),
    [
        (row("dataclass", **{"class": "os:system"}), "os:system is no class"),
        (row("enum", **{"class": "os:system"}, name="a"), "os:system is no enum"),
        (row("flag", **{"class": "enum:Enum"}, value=1), "enum:Enum is no flag"),
        (row("dataclass", **{"class": "os.path:join"}), "os.path:join is no class"),
        (row("dataclass", **{"class": "subprocess:Popen"}), "is no dataclass"),
        (named("Plain"), "no dataclass"),
        (row("dataclass", **{"class": "antigravity:Any"}), "which is not loaded here"),
        (row("dataclass", **{"class": "Point"}), "which is not loaded here"),
        (named("LoudClass"), "is no dataclass"),
        (named("LAZY"), "is no class"),
        (named("LAZY.x"), "which is not loaded here"),
        (row("dataclass", **{"class": 5}), "cannot be read: AttributeError"),
        (row("dataclass"), "cannot be read: KeyError: 'class'"),
        (
            named("WithDescriptor", value=1),
            "its field 'value' is a descriptor",
        ),
        (
            named("Point", y=1),
            "has no field 'x'. Give the field a default",
        ),
        (
            named("Point", x=1, z=1),
            "has no field 'z' any more",
        ),
        (
            row("enum", **{"class": "tests.sample.values:Colour"}, name="GREEN"),
            "has no member 'GREEN' any more",
        ),
        (row("datetime", value="yesterday"), "cannot be read: ValueError"),
        (row("datetime", value="2026-01-01", zone="../../etc/passwd"), "ValueError"),
        (row("decimal", value=[]), "cannot be read: ValueError"),
        (row("timedelta", fortnights=1), "cannot be read: TypeError"),
        (
            row("money"),
            "the kind 'money' is stored.*Was BGTASKS\\['ENCODER'\\] changed",
        ),
        (row([]), "cannot be read"),
    ],
)
def test_a_row_gets_nothing_run_or_imported(stored, told):
    values.ran.clear()
    loaded = set(sys.modules)
    with pytest.raises(CannotDecode, match=told):
        decode([stored])
    # Who only looks sees the JSON.
    assert decode_known([stored]) == [stored]
    assert set(sys.modules) == loaded
    assert values.ran == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.once
def test_a_job_that_cannot_be_decoded_fails_and_can_be_looked_at(drain, job_of):
    stored = row("dataclass", **{"class": "antigravity:Any"})
    job = make_job(task="tests.sample.tasks.keep", args=[stored], max_attempts=1)
    drain()
    job.refresh_from_db()
    assert job.status == "FAILED"
    assert "Import it in the module of the task" in job.attempts.get().error
    assert sample.calls == []
    assert sample.keep.get_result(str(job.pk)).args == [stored]


@pytest.mark.once
def test_a_field_that_was_added_has_its_default(rich):
    stored = as_row(Point(1, 2))
    del stored["y"]
    assert decode(stored) == Point(1, 0)


@pytest.mark.once
def test_strict_is_the_default():
    with pytest.raises(
        NotJSON, match=r'Decimal; pass str\(...\) of it, or set BGTASKS\["ENCODER"\]\.'
    ):
        normalize(Decimal(1), "args[0]")
    with pytest.raises(NotJSON, match="is a Note; pass text"):
        normalize(Note("text"), "args[0]")
    # As ever: they are text and numbers, too.
    assert as_row([Status.OPEN, Size.LARGE]) == ["open", 2]


@pytest.mark.once
@pytest.mark.parametrize("encoder", [None, RICH])
def test_the_reserved_key_is_refused(settings, encoder):
    settings.BGTASKS = {"ENCODER": encoder}
    with pytest.raises(NotJSON, match=r"args\[0\]\.a\[0\] has the key '__bgtasks__'"):
        normalize({"a": [row("decimal", value="1")]}, "args[0]")


@pytest.mark.once
def test_tuples_and_sets_are_as_ever(rich):
    assert decode(as_row(Point((1, 2)))).x == [1, 2]
    with pytest.raises(NotJSON, match=r"args\[0\].x\[1\] is a set; pass a list"):
        normalize(Point([0, {1}]), "args[0]")


class Strange(tzinfo):
    def utcoffset(self, moment):
        return timedelta(0)

    def __repr__(self):
        return "<Strange>"


class MyDatetime(datetime):
    pass


def extended(**attributes):
    note = Note("text")
    note.__dict__.update(attributes)
    return note


@dataclasses.dataclass
class Local:
    x: int


Local.__qualname__ = "function.<locals>.Local"


@pytest.mark.once
@pytest.mark.parametrize(
    ("value", "told"),
    [
        (datetime(2026, 1, 1, tzinfo=Strange()), "its time zone <Strange> has no name"),
        (
            time(1, tzinfo=timezone(timedelta(microseconds=1))),
            "or datetime.timezone with whole seconds",
        ),
        (MyDatetime(2026, 1, 1), r"is a MyDatetime; pass .isoformat\(\)"),
        (extended(seen=True), "its attribute 'seen' is no field; make it one"),
        (Local(1), "could not find function.<locals>.Local by its name"),
        (enum.Enum("Made", "A").A, "could not find"),
        (WithDescriptor(), "its field 'value' is a descriptor"),
        (Words("title"), "its class is also a built-in one"),
        (Plain(), "is a Plain; pass text"),
        (Note, "is a type; pass text"),
        (Note("\0"), r"args\[0\].text contains a NUL"),
    ],
)
def test_what_would_not_come_back_is_refused(rich, value, told):
    with pytest.raises(NotJSON, match=told):
        normalize(value, "args[0]")


@pytest.mark.once
def test_cached_properties_are_made_anew(rich):
    note = Note("two words")
    assert note.words == ["two", "words"]
    assert "words" not in as_row(note)


@pytest.mark.once
def test_the_limits_hold_for_what_is_stored(rich):
    value = Point(0)
    for _ in range(29):
        value = Point(value)
    assert is_same(decode(as_row(value)), value)
    with pytest.raises(NotJSON, match="more than 30 levels deep"):
        normalize(Point(value), "args[0]")
    endless = Note("text")
    endless.more = endless
    with pytest.raises(NotJSON, match="more than 30 levels deep"):
        normalize(endless, "args[0]")
    with pytest.raises(NotJSON, match="at most 1,000,000 are kept"):
        normalize_result([Decimal(1)] * 40_000)


class MoneyEncoder(RichEncoder):
    def encode(self, value):
        if isinstance(value, Money):
            if value.amount < 0:
                raise ValueError("nobody owes us; pass what you owe")
            return Tagged("money", {"amount": Decimal(value.amount), "in": Size.SMALL})
        return super().encode(value)

    def decode(self, kind, fields):
        if kind == "money":
            return Money(int(fields["amount"]), fields["in"].name)
        return super().decode(kind, fields)


@pytest.mark.once
def test_a_project_adds_its_own_types(settings):
    settings.BGTASKS = {"ENCODER": f"{__name__}.MoneyEncoder"}
    stored = as_row([Money(5, "EUR"), UUID(int=1)])
    assert stored[0][TAG] == "money"
    assert decode(stored) == [Money(5, "SMALL"), UUID(int=1)]
    with pytest.raises(
        NotJSON, match=r"args\[0\] is a Money, and nobody owes us; pass"
    ):
        normalize(Money(-1, "EUR"), "args[0]")


@pytest.mark.once
@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("no.such.Encoder", "must be importable .No module named 'no'"),
        ("django_bgtasks.encoding.Encoded", "must be importable"),
        ("json.JSONEncoder", "must be a subclass of django_bgtasks.encoding.Encoder"),
        ("json.dumps", "must be a subclass"),
    ],
)
def test_a_wrong_encoder_is_refused_by_name(settings, path, told):
    settings.BGTASKS = {"ENCODER": path}
    assert get_settings().encoder == path
    with pytest.raises(InvalidSetting, match=rf"BGTASKS\['ENCODER'\].*{told}"):
        get_encoder()


@pytest.mark.once
def test_secrets_are_found_as_the_task_was_given_them(rich):
    moment = datetime(2026, 1, 2, 3, 4, 5)
    price, point = Decimal("12345.60"), Point(1, "nobody knows")
    secrets = Secrets([as_row(value) for value in (moment, price, {"a": [point]})])
    for value in (moment, price, point.y):
        for text in (f"{value}", f"{value!r}"):
            assert secrets.mask(f"<{text}>").strip("'<>") == MASK
    # But not their kinds, which any traceback may name.
    text = "datetime decimal dataclass tests.sample.values:Point"
    assert secrets.mask(text) == text


@pytest.mark.once
def test_plain_arguments_are_passed_on_as_they_are():
    args, kwargs = [1, "text", None], {"a": 2.5}
    restored = restore_call(args, kwargs)
    assert restored[0] is args
    assert restored[1] is kwargs
    nested = [[1, 2], {"a": [uuid4().hex]}, {}]
    restored, _ = restore_call(nested, {})
    assert restored == nested
    # The task may change what it is given; the job's stays as it was stored.
    restored[0].append(3)
    restored[2]["b"] = 4
    assert nested[0] == [1, 2]
    assert nested[2] == {}
