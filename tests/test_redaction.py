import functools
import inspect
import json
import sys

import pytest
from django.views.debug import SafeExceptionReporterFilter
from django.views.decorators.debug import sensitive_variables

from django_bgtasks import background
from django_bgtasks import tasks as module
from django_bgtasks._framework import InvalidTask
from django_bgtasks.outcomes import SUMMARY_LIMIT, TRACEBACK_LIMIT, Error
from django_bgtasks.redaction import (
    MASK,
    SIZE_LIMIT,
    WORK_LIMIT,
    Redaction,
    Secrets,
    loggable,
    marked_by_django,
    while_handling,
)
from tests.sample import plain_tasks, vandals
from tests.sample import tasks as sample

pytestmark = pytest.mark.once

#: With all that somebody may write differently.
AWKWARD = "it's \"Zoë's\"\\\n & 100 %"


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    monkeypatch.setattr(module, "_registry", dict(module._registry))


def with_context(context, a, b):
    pass


def takes_all(a, /, b, *rest, c=0, **others):
    pass


async def asynchronous(a, b):
    pass


def passes_on(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def hiding(*names, function=takes_all):
    return Redaction(names, inspect.signature(function).parameters.values())


def masked(text, *values):
    return Secrets(values).mask(text)


# -- which arguments


def test_the_mask_is_djangos():
    assert SafeExceptionReporterFilter.cleansed_substitute == MASK


@pytest.mark.parametrize(
    ("names", "args", "kwargs"),
    [
        (["a"], [MASK, 2, 3, 4], {"c": 5, "d": {"e": 6}}),
        (["b"], [1, MASK, 3, 4], {"c": 5, "d": {"e": 6}}),
        (["rest"], [1, 2, MASK, MASK], {"c": 5, "d": {"e": 6}}),
        (["c"], [1, 2, 3, 4], {"c": MASK, "d": {"e": 6}}),
        (["d"], [1, 2, 3, 4], {"c": 5, "d": MASK}),
        (["others", "a"], [MASK, 2, 3, 4], {"c": 5, "d": MASK}),
    ],
)
def test_arguments_are_hidden_by_the_names_of_their_parameters(names, args, kwargs):
    call = [1, 2, 3, 4], {"c": 5, "d": {"e": 6}}
    assert hiding(*names).visible(*call) == (args, kwargs)


def test_a_parameter_is_hidden_however_it_is_passed():
    assert hiding("b").visible([1], {"b": 2}) == ([1], {"b": MASK})


def test_the_context_is_no_argument():
    task = background(takes_context=True, sensitive="a")(with_context)
    assert task.redaction.visible([1, 2], {}) == ([MASK, 2], {})


def test_what_fits_no_parameter_is_hidden():
    redaction = hiding("a", function=asynchronous)
    assert redaction.visible([1, 2, 3], {"b": 4, "c": 5}) == (
        [MASK, 2, MASK],
        {"b": 4, "c": MASK},
    )


def test_of_a_task_that_is_gone_everything_is_hidden():
    gone = module.redaction_of("gone.with.the.last.release")
    assert gone.visible([1], {"a": 2}) == ([MASK], {"a": MASK})


def test_a_task_without_secrets_has_none():
    assert module.redaction_of(sample.add.path) is None
    assert module.redaction_of(plain_tasks.plain.module_path) is None


# -- the option


def test_one_name_needs_no_tuple():
    assert background(sensitive="b")(with_context).sensitive == ("b",)
    assert background(sensitive=["b", "a"])(with_context).sensitive == ("b", "a")


def test_the_option_stays_with_copies():
    copy = sample.pay.using(priority=3)
    assert copy.sensitive == ("password", "card")
    assert len({copy, sample.pay.using(priority=3)}) == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"sensitive": "bb"}, "'bb'.* Did you mean 'b'"),
        ({"sensitive": ("a", "password")}, "'password'.* one of: a, b, context"),
        ({"sensitive": "context", "takes_context": True}, "one of: a, b[.]"),
        ({"sensitive": 5}, "it must be the name"),
        ({"sensitive": [5]}, "it must be the name"),
        ({"sensitive": None}, "it must be the name"),
    ],
)
def test_names_that_cannot_be_meant_are_refused(options, told):
    with pytest.raises(InvalidTask, match=told):
        background(**options)(with_context)


def test_any_keyword_may_be_sensitive_where_any_is_taken():
    redaction = background(sensitive="password")(takes_all).redaction
    assert redaction.visible([1, 2], {"password": 3, "x": 4}) == (
        [1, 2],
        {"password": MASK, "x": 4},
    )


# -- Django's sensitive_variables


@pytest.mark.parametrize("function", [with_context, asynchronous])
@pytest.mark.parametrize(
    ("names", "expected"),
    [(("a",), {"a"}), (("a", "local"), {"a", "local"}), ((), None)],
)
def test_djangos_decorator_is_understood_before_any_call(function, names, expected):
    try:
        decorated = sensitive_variables(*names)(function)
        assert marked_by_django(decorated) == expected
        assert marked_by_django(passes_on(decorated)) == expected
    finally:
        forget_async_functions()


def test_djangos_decorator_above_another_one():
    assert marked_by_django(sensitive_variables("a")(passes_on(with_context))) == {"a"}
    try:
        async_one = sensitive_variables("a")(passes_on(asynchronous))
        assert marked_by_django(async_one) == {"a"}
    finally:
        forget_async_functions()


def test_functions_without_it_are_not_marked():
    for function in (with_context, asynchronous, passes_on(with_context), print):
        assert marked_by_django(function) == set()


def test_both_ways_add_up():
    task = background(sensitive="a")(sensitive_variables("b", "local")(takes_all))
    assert task.redaction.visible([1, 2], {"local": 3}) == ([MASK, MASK], {"local": 3})


def test_variables_that_are_no_parameters_hide_nothing():
    assert background(sensitive_variables("local")(with_context)).redaction is None


def test_all_variables_are_all_parameters():
    redaction = background(sensitive_variables()(takes_all)).redaction
    assert redaction.visible([1, 2, 3], {"c": 4}) == ([MASK] * 3, {"c": MASK})


def test_plain_tasks_may_have_it():
    redaction = module.redaction_of(plain_tasks.change_password.module_path)
    assert redaction.visible(["ada", "hunter2"], {}) == (["ada", MASK], {})


def forget_async_functions():
    sys.modules[
        "django.views.decorators.debug"
    ].coroutine_functions_to_sensitive_variables.clear()
    # Those of the sample are declared once for all tests.
    sensitive_variables()(sample.achange_password.func)


# -- texts


@pytest.mark.parametrize(
    ("value", "text", "expected"),
    [
        ("hunter2", "no hunter2, hunter2!", f"no {MASK}, {MASK}!"),
        ("  hunter2\n", "no hunter2", f"no {MASK}"),
        (4111111111111111, "card 4111111111111111 declined", f"card {MASK} declined"),
        (12.375, "12.375 euros", f"{MASK} euros"),
        ([["hunter2"]], "no hunter2", f"no {MASK}"),
        ({"key": {"secret": "hunter2"}}, "key: hunter2", f"key: {MASK}"),
        ({"a": 1, "b": "x"}, "no {'a': 1, 'b': 'x'}", f"no {MASK}"),
        ({"a": 1, "b": "x"}, 'no {"a": 1, "b": "x"}', f"no {MASK}"),
        ([{"a": 1}], "no {'a': 1}", f"no {MASK}"),
        ("----\nMIIE\nabcd", "  | MIIE\n  | abcd", f"  | {MASK}\n  | {MASK}"),
        # What stands everywhere.
        ("abc", "abc", "abc"),
        (
            [True, False, None, "", "    "],
            "True False None     .",
            "True False None     .",
        ),
        (["True", "none", "NULL"], "True none NULL", "True none NULL"),
        (123, "line 123", "line 123"),
        ({"user": 1}, "user", "user"),
    ],
)
def test_what_is_found_in_texts(value, text, expected):
    assert masked(text, value) == expected


@pytest.mark.parametrize(
    "written",
    [
        AWKWARD,
        repr(AWKWARD),
        ascii(AWKWARD),
        repr([AWKWARD]),
        repr(AWKWARD.encode()),
        repr({"a": AWKWARD}),
        repr(repr([AWKWARD])),
        json.dumps([repr(AWKWARD)]),
        "https://bank/?it%27s%20%22Zo%C3%AB%27s%22%5C%0A%20%26%20100%20%25",
        "https://bank/?it%27s+%22Zo%C3%AB%27s%22%5C%0A+%26+100+%25",
    ],
)
def test_secrets_are_found_however_they_are_written(written):
    shown = masked(written, AWKWARD)
    assert MASK in shown
    assert "Zo" not in shown


def test_quotes_around_change_how_python_writes_it():
    assert "s secret" not in masked(repr('a "b" it\'s secret'), "it's secret")


def test_secrets_that_overlap_leave_no_rest():
    assert masked("x abcd1234efgh y", "abcd1234", "1234efgh") == f"x {MASK} y"
    assert masked("secret-long", "secret", "secret-long") == MASK


def test_what_was_changed_later_is_still_known():
    value = {"key": "hunter2"}
    secrets = Secrets([value])
    value.clear()
    assert secrets.mask("hunter2") == MASK


def test_too_much_to_look_through_is_hidden_whole():
    values = [f"value {n}" for n in range(1000)]
    assert masked("x" * (WORK_LIMIT // 1000), *values) == MASK
    assert masked("x" * 1000, *values) == "x" * 1000
    assert masked("short", "y" * SIZE_LIMIT) == MASK


def test_no_secrets_no_change():
    assert masked("as it was") == "as it was"


# -- errors


def raised(error):
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def test_an_error_is_masked_before_it_is_cut_and_joined():
    secret = "two  words" * 20
    error = raised(ValueError("x" * (SUMMARY_LIMIT // 2 - 100) + secret * 9))
    told = Error.from_exception(error, Secrets([secret]))
    assert "word" not in told.summary + told.traceback
    error = raised(ValueError("x" * (TRACEBACK_LIMIT // 2 - 300) + secret * 99))
    told = Error.from_exception(error, Secrets([secret]))
    assert "two  words" not in told.traceback


def test_the_place_of_the_error_stays():
    told = Error.from_exception(raised(KeyError("hunter2")), Secrets(["hunter2"]))
    assert told.exception_class_path == "builtins.KeyError"
    assert told.summary == f"KeyError: '{MASK}'"
    assert "in raised\n    raise error" in told.traceback


def test_while_one_error_is_handled_another_one_is_seen():
    def look():
        return sys.exc_info()

    try:
        int("hunter2")
    except ValueError:
        kind, error, trace = while_handling(OSError("stand-in"), look)
    assert (kind, str(error), trace) == (OSError, "stand-in", None)
    assert error.__context__ is None


def test_an_error_of_which_nothing_can_be_told_is_logged_all_the_same():
    told = str(loggable(vandals.Final("hunter2"), Secrets(["hunter2"])))
    assert told.startswith("tests.sample.vandals.Final, of which Python cannot tell")
