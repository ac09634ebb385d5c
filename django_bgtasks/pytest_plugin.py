"""Fixtures for pytest, for those who want them.

In the conftest.py at the root of the tests::

    pytest_plugins = ["django_bgtasks.pytest_plugin"]

Not by itself: then this package would be imported wherever it is installed, with or
without a Django project. What needs models is imported by the fixtures, for pytest
may read this before Django is set up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from django_bgtasks.results import TaskResult
    from django_bgtasks.testing import CapturedJobs


@pytest.fixture
def run_jobs() -> Callable[..., list[TaskResult[Any, Any]]]:
    """``django_bgtasks.testing.run_jobs``."""
    from django_bgtasks import testing  # noqa: PLC0415 (see the module's docstring)

    return testing.run_jobs


@pytest.fixture
def captured_jobs() -> Iterator[CapturedJobs]:
    """All jobs that the test enqueues."""
    from django_bgtasks import testing  # noqa: PLC0415 (see the module's docstring)

    with testing.capture_jobs() as jobs:
        yield jobs


@pytest.fixture
def immediate_jobs() -> Iterator[None]:
    """Jobs run where the test enqueues them, and raise their errors there."""
    from django_bgtasks import testing  # noqa: PLC0415 (see the module's docstring)

    with testing.immediate_jobs():
        yield
