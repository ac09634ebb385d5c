"""A task keeps the parameters and the result type of its function, whatever is done.

Not run, but read: by mypy and by pyright, as a project reads it that has installed the
package. What is refused is in refused.py.
"""

from __future__ import annotations

from datetime import timedelta
from typing import assert_type

from django_bgtasks import (
    Signature,
    Task,
    TaskContext,
    aenqueue_many,
    background,
    enqueue_many,
)
from django_bgtasks.results import TaskResult


@background
def bare(name: str, *, times: int = 1) -> list[str]:
    return [name] * times


@background(queue_name="mail", max_attempts=5, backoff=[10, 20], cron="@daily")
def with_options(number: int) -> int:
    return number


@background(takes_context=True)
def with_context(context: TaskContext, number: int) -> float:
    return number / context.attempt


@background(takes_context=False, timeout=timedelta(minutes=1))
def without_context(number: int) -> None: ...


@background
async def awaited(number: int) -> str:
    return str(number)


@background(priority=5)
async def awaited_with_options(number: int) -> str:
    return str(number)


@background(takes_context=True, priority=5)
async def awaited_with_context(context: TaskContext, number: int) -> str:
    return str(number)


def enqueued() -> None:
    assert_type(bare("a", times=2).return_value, list[str])
    assert_type(bare.enqueue("a", times=2).return_value, list[str])
    assert_type(with_options(1).return_value, int)
    assert_type(with_context(1).return_value, float)
    assert_type(with_context.enqueue(number=1).return_value, float)
    assert_type(without_context.enqueue(1).return_value, None)


def waited_for() -> None:
    assert_type(bare("a").get(timeout=5), list[str])
    assert_type(awaited(1).get(), str)


async def waited_for_in_async_code() -> None:
    assert_type((await bare.s("a").aenqueue()).return_value, list[str])
    assert_type(await bare("a").aget(), list[str])
    assert_type((await aenqueue_many([bare.s("a")]))[0].return_value, list[str])
    assert_type(await aenqueue_many([bare.s("a")], results=False), int)


def with_call_keywords() -> None:
    assert_type(bare("a", schedule=60).return_value, list[str])
    assert_type(bare("a", queue="mail", priority=5).return_value, list[str])
    assert_type(with_context(1, schedule=timedelta(days=1)).return_value, float)


def with_other_options() -> None:
    assert_type(bare.using(priority=5).enqueue("a").return_value, list[str])
    assert_type(with_context.using(timeout=5)(1).return_value, float)
    assert_type(with_options.using(queue_name="x").s(1).enqueue().return_value, int)


def inline() -> None:
    assert_type(bare.now("a", times=2), list[str])
    assert_type(bare.call("a", times=2), list[str])
    assert_type(with_options.now(1), int)
    assert_type(with_context.now(1), float)


def of_async_functions() -> None:
    """The result is what the function gives when it is awaited."""
    assert_type(awaited(1).return_value, str)
    assert_type(awaited.now(1), str)
    assert_type(awaited.call(1), str)
    assert_type(awaited_with_options.enqueue(1).return_value, str)
    assert_type(awaited_with_context.enqueue(1).return_value, str)
    assert_type(awaited_with_context.now(1), str)


async def in_async_code() -> None:
    assert_type((await bare.aenqueue("a", times=2)).return_value, list[str])
    assert_type((await awaited.aenqueue(1)).return_value, str)
    assert_type((await with_context.using(priority=1).aenqueue(1)).return_value, float)
    assert_type(await bare.acall("a"), list[str])
    assert_type(await awaited.acall(1), str)
    assert_type((await awaited.aget_result("id")).return_value, str)
    assert_type(await bare("a").acancel(by="somebody"), bool)


def looked_up() -> None:
    assert_type(bare.get_result("id").return_value, list[str])
    assert_type(with_context.get_result("id").return_value, float)
    assert_type(bare("a").cancel(), bool)


def signatures() -> None:
    assert_type(with_options.s(1).enqueue().return_value, int)
    assert_type(bare.s("a").using(priority=5).enqueue().return_value, list[str])
    assert_type(with_context.s(1).enqueue().return_value, float)


def many() -> None:
    results = enqueue_many(with_options.s(n) for n in range(3))
    assert_type(results[0].return_value, int)
    assert_type(enqueue_many([awaited.s(1), awaited.s(2)])[0].return_value, str)
    assert_type(enqueue_many([with_options.s(1)], results=False), int)
    # Of any mix of tasks.
    assert_type(len(enqueue_many([bare.s("a"), with_options.s(1)])), int)
    assert_type(len(enqueue_many([bare.s("a"), awaited.s(1)], batch_size=9)), int)


def handed_on(
    task: Task[[int], int], signature: Signature[[int], int]
) -> TaskResult[[int], int]:
    """Types that are written out fit as well."""
    assert_type(signature.enqueue().return_value, int)
    return task(1)


handed_on(with_options, with_options.s(1))
