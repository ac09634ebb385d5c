"""Periodic jobs as settings and code declare them."""

from datetime import UTC, datetime, timedelta

import pytest
from django.test import override_settings

from django_bgtasks import background
from django_bgtasks.checks import check_periodic_jobs
from django_bgtasks.exceptions import InvalidSchedule, InvalidSetting, UnknownOption
from django_bgtasks.periodic import Declared, declared, parse
from django_bgtasks.tasks import _registry
from tests.sample import tasks as sample

pytestmark = pytest.mark.once

PATH = sample.add.path
OURS = ("django_bgtasks.prune", "django_bgtasks.roll_up")


def nothing():
    """What the task of ``code`` does."""


@pytest.fixture
def code():
    """Declares a task in code, for the time of the test."""
    before = dict(_registry)
    yield lambda **options: background(name="code", **options)(nothing)
    _registry.clear()
    _registry.update(before)


def declarations(**periodic):
    periodic = {**dict.fromkeys(OURS), **periodic}
    with override_settings(BGTASKS={"PERIODIC": periodic}):
        return {one.name: one for one in declared()}


def errors(**periodic):
    periodic = {**dict.fromkeys(OURS), **periodic}
    with override_settings(BGTASKS={"PERIODIC": periodic}):
        return [error.msg for error in check_periodic_jobs()]


def test_settings_say_all_of_it():
    periodic = parse(
        "poll",
        {
            "task": PATH,
            "every": 30,
            "phase": timedelta(seconds=5),
            "args": (1,),
            "kwargs": {"b": 2},
            "queue_name": "io",
            "priority": 7,
            "jitter": 2.5,
            "missed": "all",
            "overlap": "skip",
            "timezone": "Asia/Kolkata",
            "start": "2026-01-01 12:00",
            "end": datetime(2026, 2, 1, tzinfo=UTC),
        },
    )
    assert periodic.rule.every == timedelta(seconds=30)
    assert periodic.rule.phase == timedelta(seconds=5)
    # A time without a zone is one of the schedule's own clocks.
    assert periodic.rule.start == datetime(2026, 1, 1, 6, 30, tzinfo=UTC)
    assert periodic.rule.end == datetime(2026, 2, 1, tzinfo=UTC)
    assert periodic.jitter == timedelta(seconds=2.5)
    assert (periodic.missed, periodic.overlap) == ("all", "skip")
    task = periodic.bound_task()
    assert (task.path, task.queue_name, task.priority) == (PATH, "io", 7)


def test_a_task_keeps_what_its_schedule_leaves_open(code):
    code(cron="@daily", queue_name="slow", priority=3)
    task = declarations()["code"].parse().bound_task()
    assert (task.queue_name, task.priority) == ("slow", 3)
    one = declarations(code={"priority": 0})["code"]
    assert one.parse().bound_task().priority == 0


def test_a_task_may_declare_its_own_schedule(code):
    task = code(cron="*/5 * * * *", timezone="Asia/Kolkata", overlap="skip")
    one = declarations()["code"]
    assert (one.source, one.parse().task) == ("code", task.path)
    assert one.parse().rule.timezone == "Asia/Kolkata"
    assert task.using(priority=5).periodic == task.periodic


def test_settings_change_what_code_declares(code):
    code(cron="@daily", overlap="skip")
    one = declarations(code={"every": 60})["code"]
    assert one.source == "settings"
    periodic = one.parse()
    assert periodic.rule.every == timedelta(minutes=1)
    assert periodic.rule.cron == ""
    assert periodic.overlap == "skip"
    assert "code" not in declarations(code=None)


def test_our_own_can_be_changed_and_taken_away():
    assert {one.name for one in declared_by_default()} >= set(OURS)
    changed = declarations(**{"django_bgtasks.prune": {"queue_name": "low"}})
    periodic = changed["django_bgtasks.prune"].parse()
    assert periodic.bound_task().queue_name == "low"
    assert not declarations().keys() & set(OURS)


@override_settings(BGTASKS={})
def declared_by_default():
    return list(declared())


def test_an_unknown_option_of_the_decorator_is_named():
    with pytest.raises(UnknownOption, match="'cron'"):
        background(crom="@daily")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"task": PATH, "cron": "0 3 * *"}, "it must have 5 fields"),
        ({"task": PATH, "cron": 5}, "cron is 5; it must be text"),
        ({"task": PATH, "cron": "@daily", "args": [1], "timezone": "x"}, "timezone is"),
        ({"task": PATH, "crom": "@daily"}, "crom is no option.* mean 'cron'"),
        ({"cron": "@daily"}, "task is missing"),
        ({"task": "tests.sample.tasks.ad", "cron": "@daily"}, f"mean '{PATH}'"),
        ({"task": PATH, "cron": "@daily"}, "args cannot be used.*missing"),
        ({"task": PATH, "cron": "@daily", "kwargs": {"c": 1}}, "kwargs cannot be used"),
        ({"task": PATH, "cron": "@daily", "args": [{1}]}, r"args cannot.*args\[0\]"),
        ({"task": PATH, "cron": "@daily", "args": "1"}, "args is '1'.*a list"),
        ({"task": PATH, "cron": "@daily", "kwargs": []}, "kwargs is.*a dict"),
        (
            {"task": PATH, "cron": "@daily", "args": [1], "queue_name": "x" * 101},
            "queue_name is longer than 100",
        ),
        (
            {"task": PATH, "cron": "@daily", "args": [1], "priority": 1000},
            "priority is 1000; it must be",
        ),
        ({"task": PATH, "every": "5m"}, "every is '5m'; it must be seconds"),
        ({"task": PATH, "every": float("inf")}, "every is inf"),
        ({"task": PATH, "every": 60, "jitter": -1}, "jitter is"),
        ({"task": PATH, "every": 60, "missed": "some"}, "missed is 'some'.*'latest'"),
        ({"task": PATH, "every": 60, "overlap": "no"}, "overlap is 'no'.*'skip'"),
        ({"task": PATH, "at": "tomorrow"}, "at is 'tomorrow'; it must be a datetime"),
        (None, "must be a dict"),
    ],
)
def test_a_wrong_setting_is_an_error_of_the_system_check(options, said):
    (message,) = errors(nightly=options)
    assert message.startswith("BGTASKS['PERIODIC']['nightly']: ")
    with pytest.raises(InvalidSchedule, match=said):
        Declared("nightly", "settings", options).parse().bound_task()


def test_a_wrong_decorator_is_one_too(code):
    code(cron="0 3 * *")
    (message,) = errors()
    assert message.startswith("@background of code: cron is '0 3 * *'")


def test_a_queue_that_the_backend_does_not_have_is_an_error(settings):
    backend = {"BACKEND": "django_bgtasks.backend.DatabaseBackend", "QUEUES": ["mail"]}
    with override_settings(TASKS={"default": backend}):
        (message,) = errors(x={"task": PATH, "every": 9, "args": [1]})
    assert "Queue 'default' is not valid" in message


def test_names_must_differ_by_more_than_their_case():
    each = {"task": PATH, "every": 60, "args": [1]}
    (message,) = errors(Poll=each, poll=each)
    assert "name is the same as 'Poll' but for its case" in message


def test_a_name_must_fit_its_column():
    (message,) = errors(**{"x" * 256: {"task": PATH, "every": 60, "args": [1]}})
    assert "255" in message


def test_the_setting_must_be_a_dict():
    with pytest.raises(InvalidSetting), override_settings(BGTASKS={"PERIODIC": []}):
        list(declared())


def test_the_share_of_the_jitter_is_the_same_for_all():
    periodic = parse("p", {"task": PATH, "every": 60, "jitter": 30})
    ticks = [datetime(2026, 1, 1, 0, minute, tzinfo=UTC) for minute in range(60)]
    waits = [periodic.wait_after(tick) for tick in ticks]
    assert waits == [periodic.wait_after(tick) for tick in ticks]
    assert timedelta(0) <= min(waits) < timedelta(5)
    assert timedelta(seconds=25) < max(waits) <= timedelta(seconds=30)
    other = parse("q", {"task": PATH, "every": 60, "jitter": 30})
    assert waits != [other.wait_after(tick) for tick in ticks]
