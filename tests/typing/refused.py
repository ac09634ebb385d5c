"""What checkers refuse. That they do is checked as well: an ignore without an error to
ignore is an error, for both of them.
"""

from __future__ import annotations

from django_bgtasks import TaskContext, background, enqueue_many


@background
def bare(name: str, *, times: int = 1) -> list[str]:
    return [name] * times


@background(takes_context=True)
def with_context(context: TaskContext, number: int) -> float:
    return number / context.attempt


def arguments() -> None:
    bare(1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    bare("a", "b")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    bare("a", tmies=2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    bare()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    bare.enqueue(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bare.enqueue("a", times="2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bare.s(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bare.now(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bare.call(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bare.using(priority=5).enqueue(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bare.using(priority=5).s("a", tmies=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def in_async_code() -> None:
    await bare.aenqueue(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await bare.acall(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def call_keywords() -> None:
    bare("a", schedule="tomorrow")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    bare("a", queue=1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    bare("a", priority="high")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


def context() -> None:
    """It is for the worker to pass."""
    with_context("a")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    with_context.enqueue()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with_context.now(1, 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def no_signatures() -> None:
    enqueue_many([bare("a")])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]


def results() -> None:
    takes_number(bare("a").return_value)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    takes_number(enqueue_many([bare.s("a")])[0].return_value)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    takes_number(bare.now("a"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def takes_number(number: int) -> None: ...


def options() -> None:
    background(max_attempts="3")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    background(max_atempts=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    background(on_lost="retries")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


@background(takes_context=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]
def context_is_missing(number: int) -> None: ...
