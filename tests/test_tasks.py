import copy
import functools
import importlib
import inspect
import math
import pickle  # noqa: TID251 (of a task, which Django supports; never of job data)
import sys
import types
from datetime import timedelta

import pytest
from django.utils import timezone

from django_bgtasks import RetryPolicy, Task, TaskContext, background
from django_bgtasks import tasks as module
from django_bgtasks._framework import InvalidTask
from django_bgtasks.exceptions import DuplicateTask, UnknownOption
from tests.sample import plain_tasks
from tests.sample import tasks as sample

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    monkeypatch.setattr(module, "_registry", dict(module._registry))


def plain(a, b=1):
    """Says what it does."""
    return a + b


class Callable:
    def __call__(self): ...


def context_taker(context, a):
    return context.attempt, a


def test_a_task_carries_its_options():
    task = sample.send_mail
    assert isinstance(task, Task)
    assert task.path == "tests.sample.tasks.send_mail"
    assert (task.queue_name, task.priority) == ("mail", 10)
    assert (task.max_attempts, task.timeout) == (5, 30)


def test_defaults_are_djangos():
    task = sample.add
    assert (task.queue_name, task.priority, task.backend) == ("default", 0, "default")
    assert (task.run_after, task.takes_context) == (None, False)
    assert task.name == "add"
    assert task.backoff == RetryPolicy()


def test_a_name_replaces_the_path():
    assert sample.named.path == "shop.renamed"
    assert module.find_task("shop.renamed") is sample.named


def test_rows_from_before_it_had_a_name_still_find_the_task():
    assert module.find_task("tests.sample.tasks.named") is sample.named


def test_now_runs_inline():
    assert sample.add.now(1, b=2) == 3
    assert sample.aadd.now(1, 2) == 3
    assert sample.add.call(1, b=2) == 3


def test_now_brings_its_own_context():
    task = background(takes_context=True)(context_taker)
    assert task.now(5) == (1, 5)


def test_a_context_without_a_row_reports_nowhere():
    def check(context):
        context.progress(1, 2)
        return isinstance(context, TaskContext)

    globals()["check"] = check
    check.__qualname__ = "check"
    assert background(takes_context=True)(check).now()


def test_the_function_shows_through():
    task = background(plain)
    assert task.__doc__ == "Says what it does."
    assert inspect.unwrap(task) is plain
    assert str(inspect.signature(task)) == "(a, b=1)"


def test_using_changes_a_copy():
    later = timezone.now()
    changed = sample.add.using(priority=5, queue_name="x", run_after=later, timeout=3)
    assert (changed.priority, changed.queue_name, changed.timeout) == (5, "x", 3)
    assert changed.run_after == later
    assert sample.add.priority == 0
    assert module.find_task(sample.add.path) is sample.add


def test_tasks_can_be_hashed_and_compared():
    assert len({sample.fail_slowly, sample.fail_slowly.using(priority=0)}) == 1
    assert sample.add.using(priority=3) != sample.add
    assert sample.add.using(priority=3).using(priority=0) == sample.add


@pytest.mark.parametrize("task", [sample.add, sample.named, sample.fail_slowly])
def test_tasks_can_be_pickled(task):
    task = task.using(priority=3)
    assert pickle.loads(pickle.dumps(task)) == task  # noqa: S301 (our own)


def test_also_those_that_hold_a_function():
    task = background(backoff=lambda error, task_result: 1)(plain)
    assert pickle.loads(pickle.dumps(task)) == task  # noqa: S301 (our own)
    assert copy.deepcopy(task.using(priority=3)).priority == 3


def test_also_those_of_djangos_own_decorator_that_were_sent_here(monkeypatch):
    """Which nobody has sent here yet in the process that reads them."""
    monkeypatch.setattr(module, "_registry", {})
    task = module.find_task(plain_tasks.plain.module_path)
    text = pickle.dumps(task.using(priority=3))
    module._registry.clear()
    assert pickle.loads(text) == task.using(priority=3)  # noqa: S301 (our own)


def test_one_that_is_no_more_is_named(monkeypatch):
    text = pickle.dumps(sample.named)
    monkeypatch.setattr(module, "_registry", {})
    with pytest.raises(LookupError, match=r"declares no task 'shop\.renamed' any more"):
        pickle.loads(text)  # noqa: S301 (our own)


def test_using_leaves_what_is_none():
    assert sample.send_mail.using(priority=None).priority == 10


@pytest.mark.parametrize(
    ("option", "suggestion"),
    [
        ("prioritty", "priority"),
        ("queue", "queue_name"),
        ("max_retries", "max_attempts"),
        ("takes_contxt", "takes_context"),
        ("schedule", "delay"),
        ("run_after", "delay"),
    ],
)
def test_an_unknown_option_suggests_the_right_one(option, suggestion):
    with pytest.raises(UnknownOption, match=f"Did you mean '{suggestion}'"):
        background(**{option: 1})


def test_using_refuses_unknown_options_too():
    with pytest.raises(UnknownOption, match="Did you mean 'priority'"):
        sample.add.using(prioriti=1)


def test_using_refuses_what_a_row_cannot_say():
    with pytest.raises(UnknownOption, match=r"^using\(\) has no option 'backoff'"):
        sample.add.using(backoff=5)


def test_exceptions_may_be_given_as_one_or_as_a_list():
    assert sample.fail_for_good.retry_on == (OSError,)
    task = Task(**_options(func=plain, no_retry_on=[KeyError, OSError]))
    assert task.no_retry_on == (KeyError, OSError)


def _options(**options):
    """What Django's own decorator passes, on every version."""
    common = {"priority": 0, "backend": "default", "queue_name": "default"}
    return {**common, "run_after": None, **options}


def test_a_run_after_that_is_no_time_is_refused():
    with pytest.raises(InvalidTask, match="run_after .* is 60; it must be a datetime"):
        sample.add.using(run_after=60)


def test_a_string_is_not_a_function():
    with pytest.raises(TypeError, match="queue_name='mail'"):
        background("mail")


@pytest.mark.parametrize(
    "thing",
    [functools.partial(plain), staticmethod(plain), dict, len, Callable(), sample.add],
)
def test_what_can_be_called_but_is_no_function_is_refused(thing):
    with pytest.raises(InvalidTask, match="no function.* goes above"):
        background(thing)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"priority": 101}, "between -100 and 100"),
        ({"priority": 1.5}, "whole number"),
        ({"priority": "high"}, "priority is 'high'; it must be a whole number"),
        ({"priority": math.nan}, "priority is nan; it must be a whole number"),
        ({"priority": math.inf}, "priority is inf; it must be a whole number"),
        ({"priority": 10**400}, "between -100 and 100"),
        ({"priority": True}, "priority is True; it must be a whole number"),
        ({"priority": None}, "priority is None; it must be a whole number"),
        ({"max_attempts": 0}, "at least 1"),
        ({"max_attempts": "3"}, "at least 1"),
        ({"max_attempts": True}, "at least 1"),
        ({"max_attempts": sys.maxsize}, "at most 2,147,483,647"),
        ({"timeout": "30"}, "seconds or a timedelta"),
        ({"retry_on": None}, "None is no exception class"),
        ({"no_retry_on": [ValueError, "KeyError"]}, "no exception class"),
        ({"timeout": 0}, "longer than 0"),
        ({"timeout": timedelta(0)}, "longer than 0"),
        ({"queue_name": ""}, "1 to 100 characters"),
        ({"queue_name": "q" * 101}, "1 to 100 characters"),
        ({"queue_name": None}, "queue_name is None; it must be text"),
        ({"queue_name": "a\x00b"}, "without NUL"),
        ({"name": 5}, "name is 5; it must be text"),
        ({"on_lost": None}, '"retry" or "fail"'),
        ({"queue_name": ".."}, "not only dots and spaces"),
        ({"queue_name": " "}, "not only dots and spaces"),
        ({"name": "n" * 256}, "longer than 255 characters"),
        ({"takes_context": True}, "first argument of 'context'"),
    ],
)
def test_values_that_cannot_work_are_refused(options, told):
    with pytest.raises(InvalidTask, match=told):
        background(**options)(plain)


def test_functions_inside_functions_are_refused():
    def local():
        pass

    with pytest.raises(InvalidTask, match="module level"):
        background(local)


def test_one_name_for_two_functions_is_refused():
    background(name="taken")(plain)
    with pytest.raises(DuplicateTask, match="plain and by .*context_taker"):
        background(name="taken")(context_taker)


def test_a_reloaded_module_replaces_its_tasks(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    source = "from django_bgtasks import background\n@background\ndef f(): return {}\n"
    (tmp_path / "reloaded_tasks.py").write_text(source.format(1))
    loaded = importlib.import_module("reloaded_tasks")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "reloaded_tasks.py").write_text(source.format("1 + 1"))
    importlib.invalidate_caches()
    importlib.reload(loaded)
    assert module.find_task("reloaded_tasks.f").now() == 2


def injects(function):
    @functools.wraps(function)
    def wrapper(a):
        return function(a, b=10)

    wrapper.__qualname__ = wrapper.__name__ = "wrapped"
    return wrapper


def hands_on(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    wrapper.__qualname__ = wrapper.__name__ = "wrapped"
    return wrapper


@pytest.mark.parametrize(
    ("decorator", "fits", "does_not"), [(injects, 1, 2), (hands_on, 2, 3)]
)
def test_a_decorator_may_change_what_is_passed(decorator, fits, does_not):
    task = background(decorator(plain))
    task.check_arguments([1] * fits, {})
    with pytest.raises(TypeError, match="cannot be called so"):
        task.check_arguments([1] * does_not, {})


def test_an_option_in_a_call_is_sent_where_it_belongs():
    for enqueue in (sample.add, sample.add.enqueue):
        with pytest.raises(TypeError, match=r"go to add\.using\(max_attempts=\.\.\.\)"):
            enqueue(1, 2, max_attempts=5)
    with pytest.raises(TypeError) as raised:
        sample.add(1, 2, countdown=5)
    assert "using" not in str(raised.value)


def test_a_module_that_imports_on_demand_is_not_asked(monkeypatch):
    def imports_on_demand(name):
        pytest.fail(f"asked for {name}")

    lazy = types.ModuleType("lazy")
    lazy.__getattr__ = imports_on_demand
    monkeypatch.setitem(sys.modules, "lazy", lazy)
    assert module.find_task("lazy.anything") is None


def test_reserved_parameters_are_known():
    assert sample.takes_priority.reserved_parameters == ["priority"]
    assert sample.add.reserved_parameters == []


def test_find_imports_nothing():
    assert module.find_task("this.that") is None
    assert module.find_task("antigravity.geohash") is None
    assert "antigravity" not in sys.modules
    assert module.find_task("os.system") is None
    assert module.find_task("") is None


def test_a_wrong_schedule_is_refused():
    with pytest.raises(TypeError, match="schedule is 'soon'"):
        sample.add(1, schedule="soon")
