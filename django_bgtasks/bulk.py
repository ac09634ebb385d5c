"""Many jobs in few statements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import groupby, islice
from typing import Any, Literal, ParamSpec, TypeVar, overload

from asgiref.sync import sync_to_async
from django.db import DatabaseError

from django_bgtasks._framework import BaseTaskBackend
from django_bgtasks.backend import DatabaseBackend
from django_bgtasks.results import TaskResult
from django_bgtasks.tasks import Signature

P = ParamSpec("P")
R = TypeVar("R")

Signatures = Iterable[Signature[..., Any]]

#: Jobs in one statement. More are hardly faster.
BATCH_SIZE = 1000

#: How often a list is enqueued if the database gives others the way each time.
TRIES = 50


@overload
def enqueue_many(
    signatures: Iterable[Signature[P, R]],
    *,
    batch_size: int = ...,
    results: Literal[True] = ...,
) -> list[TaskResult[P, R]]: ...
@overload
def enqueue_many(
    signatures: Signatures, *, batch_size: int = ..., results: Literal[True] = ...
) -> list[TaskResult[Any, Any]]: ...
@overload
def enqueue_many(
    signatures: Signatures, *, batch_size: int = ..., results: Literal[False]
) -> int: ...
def enqueue_many(
    signatures: Signatures, *, batch_size: int = BATCH_SIZE, results: bool = True
) -> list[TaskResult[Any, Any]] | int:
    """Enqueue many jobs, of any mix of tasks, in few statements: all or none.

    ::

        enqueue_many(send.s(user.id) for user in users)

    Args:
        signatures: tasks with their arguments. A generator is read as the jobs are
            written, never more than a batch ahead.
        batch_size: jobs in one statement.
        results: False spares the results, and so the memory for them.

    Returns:
        A result for each job, in their order; or, without results, how many.

    Raises:
        TypeError: something is no signature, or arguments do not fit a function.
        NotJSON: an argument cannot be JSON.
        InvalidTask: a task cannot be run by its backend.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1.")
    from django_bgtasks.store.callers import transaction_elsewhere  # noqa: PLC0415 (as above)
    from django_bgtasks.store.engines import get_engine  # noqa: PLC0415 (models may not be there yet)
    from django_bgtasks.store.wakeup import commits_at_once  # noqa: PLC0415 (as above)

    engine = get_engine()
    # What waits for the commit of another database is written batch by batch.
    is_put_off = transaction_elsewhere(engine.connection) is not None
    # A generator is read but once, and a transaction of the caller's is lost as a whole.
    tries = (
        TRIES if iter(signatures) is not signatures and commits_at_once(engine) else 1
    )
    while True:
        tries -= 1
        try:
            with nullcontext() if is_put_off else engine.transaction():
                return _enqueue_all(signatures, batch_size, results=results)
        except DatabaseError as error:
            # InnoDB finds deadlocks between batches of the same unique jobs, in whichever
            # order they come.
            if not (tries and engine.is_deadlock(error)):
                raise


def _enqueue_all(
    signatures: Signatures, batch_size: int, *, results: bool
) -> list[TaskResult[Any, Any]] | int:
    made: list[TaskResult[Any, Any]] = []
    count = 0
    for batch in _batches(signatures, batch_size):
        count += len(batch)
        made += _enqueue_batch(batch, results=results)
    return made if results else count


@overload
async def aenqueue_many(
    signatures: Iterable[Signature[P, R]],
    *,
    batch_size: int = ...,
    results: Literal[True] = ...,
) -> list[TaskResult[P, R]]: ...
@overload
async def aenqueue_many(
    signatures: Signatures, *, batch_size: int = ..., results: Literal[True] = ...
) -> list[TaskResult[Any, Any]]: ...
@overload
async def aenqueue_many(
    signatures: Signatures, *, batch_size: int = ..., results: Literal[False]
) -> int: ...
async def aenqueue_many(
    signatures: Signatures, *, batch_size: int = BATCH_SIZE, results: bool = True
) -> list[TaskResult[Any, Any]] | int:
    """``enqueue_many`` for async code: all of it in one go, in the thread of the ORM."""
    enqueue: Any = sync_to_async(enqueue_many)
    made: list[TaskResult[Any, Any]] | int = await enqueue(
        signatures, batch_size=batch_size, results=results
    )
    return made


def _batches(signatures: Signatures, size: int) -> Iterator[list[Signature[..., Any]]]:
    iterator = iter(signatures)
    while batch := list(islice(iterator, size)):
        yield batch


def _enqueue_batch(
    batch: list[Signature[..., Any]], *, results: bool
) -> list[TaskResult[Any, Any]]:
    backend_of = _backends(batch)
    made: list[TaskResult[Any, Any]] = []
    # Almost always one group. Groups keep the order of the results.
    for backend, group in groupby(batch, lambda s: backend_of[id(s.task)]):
        if isinstance(backend, DatabaseBackend):
            made += backend.enqueue_many(list(group), results=results)
        else:
            made += [signature.enqueue() for signature in group]
    return made


def _backends(batch: list[Signature[..., Any]]) -> dict[int, BaseTaskBackend]:
    """The backend of each task, which is asked once whether the task is valid."""
    backend_of: dict[int, BaseTaskBackend] = {}
    for signature in batch:
        if not isinstance(signature, Signature):
            raise TypeError(
                f"enqueue_many() was given {signature!r}; it takes signatures, such "
                "as send.s(42)."
            )
        # By identity: to compare tasks takes longer than to write a job.
        if id(signature.task) not in backend_of:
            backend = signature.task.get_backend()
            backend.validate_task(signature.task)
            backend_of[id(signature.task)] = backend
    return backend_of
