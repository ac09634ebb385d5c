import datetime
import decimal
import enum
import pathlib
import uuid

import pytest
from django.contrib.auth.models import User
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from django_bgtasks import NotJSON
from django_bgtasks.arguments import normalize, normalize_call, normalize_result

pytestmark = pytest.mark.once


class Colour(enum.Enum):
    RED = "red"


class Size(int, enum.Enum):
    SMALL = 1


@pytest.mark.parametrize(
    ("value", "normal"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (2**80, 2**80),
        (1.5, 1.5),
        ("text", "text"),
        (mark_safe("<b>"), "<b>"),
        ((1, (2,)), [1, [2]]),
        (b"bytes", "bytes"),
        ({"a": (1,)}, {"a": [1]}),
        ({1: "a", None: "b", False: "c"}, {"1": "a", "null": "b", "false": "c"}),
        ({Size.SMALL: 1.5, 2.5: Size.SMALL}, {"1": 1.5, "2.5": 1}),
        (range(3), [0, 1, 2]),
    ],
)
def test_json_is_taken_as_django_takes_it(value, normal):
    assert normalize(value, "args[0]") == normal


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (datetime.datetime(2026, 1, 1), "datetime; pass .isoformat()"),
        (datetime.date(2026, 1, 1), "date; pass .isoformat()"),
        (datetime.timedelta(1), "timedelta; pass .total_seconds()"),
        (decimal.Decimal(1), "Decimal; pass str(...)"),
        (uuid.uuid4(), "UUID; pass str(...)"),
        (pathlib.Path("a"), "PosixPath; pass str(...)"),
        (Colour.RED, "Colour; pass .value"),
        ({1, 2}, "set; pass a list"),
        (User(pk=1), "is a User; pass its primary key (.pk)"),
        (User.objects.none(), "QuerySet; pass a list of primary keys"),
        (gettext_lazy("text"), "proxy__; pass str(...)"),
        (object(), "object; pass text"),
        (float("nan"), "nan; JSON has no such number"),
        (float("inf"), "inf; JSON has no such number"),
        (b"\xff", "bytes that are not UTF-8"),
        ("a\x00b", "contains a NUL character"),
        ("\ud800", "contains a lone surrogate"),
        ({"a b": {1: object()}}, "args[0]['a b'][1] is an object"),
        (2**4096, "an integer of more than 4096 bits"),
        ({1: "a", "1": "b"}, "two keys that are the same text"),
        ({(1, 2): 3}, "has the key (1, 2), a tuple; keys must be str"),
    ],
)
def test_what_is_not_json_is_refused_with_a_way_out(value, told):
    with pytest.raises(NotJSON) as refused:
        normalize(value, "args[0]")
    assert told in str(refused.value)
    assert "args[0]" in str(refused.value)


def test_the_path_into_nested_values_is_named():
    when = datetime.datetime(2026, 1, 1)
    with pytest.raises(NotJSON, match=r"^args\[1\]\.when\[0\] is a datetime; "):
        normalize_call([1, {"when": [when]}], {})
    with pytest.raises(NotJSON, match=r"^when is a datetime; "):
        normalize_call([], {"when": when})


def test_depth_ends_before_the_databases_do():
    value = deepest = []
    for _ in range(29):
        deepest.append([])
        deepest = deepest[0]
    assert normalize(value, "a") == value
    deepest.append([])
    with pytest.raises(NotJSON, match="more than 30 levels deep"):
        normalize(value, "a")
    deepest[0].append(value)
    with pytest.raises(NotJSON, match="more than 30 levels deep"):
        normalize(value, "a")


def test_a_result_is_bounded():
    assert normalize_result("x" * 999_998) == "x" * 999_998
    with pytest.raises(NotJSON, match="the return value takes 1,000,001 characters"):
        normalize_result("x" * 999_999)
