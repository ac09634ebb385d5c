"""Which frames stand out; that nothing of a text is lost, whatever it is."""

import sysconfig
import traceback
from itertools import pairwise

import django
import pytest
from django.core.management import call_command
from hypothesis import example, given
from hypothesis import strategies as st

import django_bgtasks
from django_bgtasks.admin.tracebacks import Part, is_library, split
from django_bgtasks.outcomes import TRACEBACK_LIMIT, bounded

pytestmark = pytest.mark.once

HEAD = "Traceback (most recent call last):\n"
OWN = (
    '  File "/srv/shop/orders.py", line 7, in send\n    post(order)\n    ~~~~^^^^^^^\n'
)
DJANGO = (
    '  File "/venv/lib/python3.13/site-packages/django/db/models/query.py", line 9, '
    "in get\n    raise self.model.DoesNotExist(\n"
)
STANDARD = '  File "/usr/lib/python3.13/json/decoder.py", line 3, in decode\n    no()\n'
END = "ValueError: no\n"


def raised(function, *args):
    try:
        function(*args)
    except Exception as error:  # noqa: BLE001 (whatever it is)
        return "".join(traceback.format_exception(error))
    raise AssertionError("it raised nothing")


def test_frames_of_libraries_are_put_together():
    text = HEAD + DJANGO + STANDARD + OWN + DJANGO + END
    assert split(text) == [
        Part("text", HEAD),
        Part("library", DJANGO + STANDARD, 2),
        Part("own", OWN, 1),
        Part("library", DJANGO, 1),
        Part("text", END),
    ]


def test_how_many_they_are_is_said():
    assert Part("library", "", 1).summary == "… 1 frame of libraries"
    assert Part("library", "", 12).summary == "… 12 frames of libraries"


def test_of_what_has_really_been_raised():
    text = raised(call_command, "no such command")
    assert "".join(part.text for part in split(text)) == text
    assert {part.kind for part in split(text)} == {"own", "library", "text"}
    own = [part for part in split(text) if part.kind == "own"]
    assert all(__file__ in part.text for part in own)


def test_frames_that_repeat_stay_with_theirs():
    def down():
        down()

    (own,) = [part for part in split(raised(down)) if part.kind == "own"]
    assert "[Previous line repeated" in own.text


def test_chains_and_groups():
    def inner(number):
        raise ValueError(number)

    def gather():
        errors = []
        for number in (1, 2):
            try:
                inner(number)
            except ValueError as error:
                errors.append(error)
        raise ExceptionGroup("both", errors)

    def outer():
        try:
            gather()
        except ExceptionGroup as group:
            raise RuntimeError("outer") from group

    text = raised(outer)
    parts = split(text)
    assert "".join(part.text for part in parts) == text
    # outer(), gather(), inner() twice each, and the test's own call.
    assert sum(part.frames for part in parts if part.kind == "own") >= 6
    shown = "".join(part.text for part in parts if part.kind == "text")
    assert "+---------------- 1 ----------------" in shown
    assert "The above exception was the direct cause" in shown


def test_where_code_cannot_be_compiled_is_text():
    text = raised(compile, "a = (\n", "/srv/shop/broken.py", "exec")
    last = split(text)[-1]
    assert last.kind == "text"
    assert 'File "/srv/shop/broken.py", line 1\n' in last.text


def test_a_middle_that_was_cut_out_is_text():
    text = bounded(HEAD + (OWN + DJANGO) * 500 + END, TRACEBACK_LIMIT)
    parts = split(text)
    assert "".join(part.text for part in parts) == text
    (cut,) = [part for part in parts if "characters left out" in part.text]
    assert cut.kind == "text"


def test_halves_of_two_frames_are_no_frame():
    joined = '  File "/srv/shop ... 99 characters left out ... /b.py", line 1, in get\n'
    assert split(joined) == [Part("text", joined)]


@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [HEAD, OWN, DJANGO, STANDARD, END, "  | " + OWN, "    x", "\n", "\r\n"]
            ),
            st.text(),
        )
    ).map("".join)
)
@example('  File "", line 1, in ')
@example("    \x0c\x85 \u2028")
def test_nothing_is_lost_of_any_text(text):
    parts = split(text)
    assert "".join(part.text for part in parts) == text
    # Each is as long as can be.
    assert all(a.kind != b.kind for a, b in pairwise(parts))


@pytest.mark.parametrize(
    "path",
    [
        "/venv/lib/python3.13/site-packages/django/urls/base.py",
        "/usr/lib/python3/dist-packages/yaml/__init__.py",
        "/opt/python/lib/python3.11/asyncio/tasks.py",
        "/opt/pypy/lib/pypy3.10/json/decoder.py",
        "/usr/lib/python313.zip/json/decoder.py",
        r"C:\Python313\Lib\asyncio\base_events.py",
        r"D:\app\venv\Lib\site-packages\django\urls\base.py",
        "<frozen importlib._bootstrap>",
        "<string>",
        "/other/host/django_bgtasks/worker/execution.py",
        "/other/host/django_bgtasks/tasks.py",
        sysconfig.get_path("stdlib") + "/json/decoder.py",
        django.__file__,
        django_bgtasks.__file__,
    ],
)
def test_what_is_of_a_library(path):
    assert is_library(path)


@pytest.mark.parametrize(
    "path",
    [
        "/srv/shop/tasks.py",
        "tasks.py",
        "/srv/lib/shop/tasks.py",
        "/srv/python3.13/shop/tasks.py",
        r"C:\shop\Lib\tasks.py",
        # A checkout that is called as we are.
        "/srv/django_bgtasks/shop/tasks.py",
        "",
        __file__,
    ],
)
def test_what_is_of_the_project(path):
    assert not is_library(path)
