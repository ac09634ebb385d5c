"""Every block of Python in the documentation runs, page by page, as it stands.

A page is one module, and a worker runs beside it: after each block, and during those
that wait for a result. A block that begins with a comment such as ``# shop/tasks.py`` is
that module, as far as imports go. The tests that a block has are run; one that begins
with spaces goes on with the class before it. To leave a block out, say why on the line
before: ``<!-- not run: it shows an error -->``. A page whose jobs are meant to fail says
so, anywhere: ``<!-- jobs fail: that is its subject -->``.
"""

from __future__ import annotations

import ast
import builtins
import dis
import doctest
import importlib.util
import inspect
import itertools
import re
import sys
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, ModuleType

import pytest
from asgiref.sync import async_to_sync
from django.utils import timezone
from django.utils.module_loading import import_string

from django_bgtasks import _framework, tasks
from django_bgtasks.checks import check_periodic_jobs
from django_bgtasks.conf import get_settings
from django_bgtasks.models import Attempt, Job
from django_bgtasks.pytest_plugin import captured_jobs, run_jobs  # noqa: F401 (pages ask for them)
from tests import factories
from tests.docs import shop
from tests.docs.pages import PAGES, Block, blocks, jobs_may_fail, name_of

pytestmark = [
    pytest.mark.once,
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("database_for_jobs"),
]

#: What pages import, and whoever runs the tests need not have.
STRANGERS = ["httpx", "requests"]
_FILE = re.compile(r"# (?P<path>\w+(?:/\w+)+)\.py")
_WAITS = re.compile(r"\.a?get\(timeout=")


def languages(page):
    return {block.language for block in blocks(page)}


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if languages(page) & {"python", "pycon"}],
    ids=name_of,
)
def test_the_blocks_of_a_page_run(page, reader, beside, meanwhile):
    for block in blocks(page):
        if block.language in RUNNERS and block.run:
            with meanwhile(block):
                reader.run(block)
            beside()
            if not jobs_may_fail(page):
                no_job_failed(block)
    assert reader.unknown_names() == []


def no_job_failed(block):
    for attempt in Attempt.objects.exclude(ending="CANCELLED"):
        pytest.fail(f"A job of {block.place} failed:\n{attempt.traceback}")
    for job in Job.objects.failed():
        pytest.fail(f"{job} of {block.place} failed without an attempt.")


@pytest.fixture(scope="module")
def database_for_jobs():
    """What databases.md sends the jobs to."""
    with factories.another_alias("queue"):
        yield


@pytest.fixture
def reader(request, monkeypatch, settings):
    """Somebody who types in what a page says, into a project that is a shop."""
    registered = dict(tasks._registry)
    settings.INSTALLED_APPS = [
        *settings.INSTALLED_APPS,
        f"{shop.__name__}.ShopConfig",
    ]
    settings.ROOT_URLCONF = shop.__name__
    shop.create_tables()
    # Pages are for one version of Django, and say what is different in the other.
    framework = sys.modules[
        _framework.BaseTaskBackend.__module__.partition(".backends")[0]
    ]
    for name in ("django.tasks", "django_tasks"):
        monkeypatch.setitem(sys.modules, name, framework)
    if sys.version_info < (3, 12):
        monkeypatch.setattr(itertools, "batched", _batched, raising=False)
    for name in STRANGERS:
        if importlib.util.find_spec(name) is None:
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
    yield Reader(monkeypatch, settings, request.getfixturevalue)
    shop.drop_tables()
    tasks._registry.clear()
    tasks._registry.update(registered)


@pytest.fixture
def beside(drain):
    """Let the worker beside the page run what there is, as if its time had come."""

    def work():
        if Job.objects.unfinished().exists():
            Job.objects.filter(status="SCHEDULED").update(run_after=timezone.now())
            drain()

    return work


@pytest.fixture
def meanwhile(at_work):
    """Let a worker run jobs while a block waits for them."""

    @contextmanager
    def work(block):
        worker = at_work() if _WAITS.search(block.code) else None
        yield
        if worker:
            worker.stop()

    return work


class Reader:
    def __init__(self, monkeypatch, settings, fixture) -> None:
        self._monkeypatch = monkeypatch
        self._settings = settings
        self._fixture = fixture
        self._module = ModuleType("page")
        self._names = vars(self._module)
        self._names.update(shop.names())
        self._save_as("page")
        self._compiled: list[tuple[Block, CodeType]] = []
        self._last_class = ""

    def run(self, block: Block) -> None:
        if file := _FILE.match(block.code):
            self._save_as(file["path"].replace("/", "."))
        RUNNERS[block.language](self, block)

    def unknown_names(self) -> list[str]:
        """What bodies use that nobody has called, and the page does not have."""
        known = {*self._names, *vars(builtins)}
        return [
            f"{block.page.name}:{line}: {name} is neither defined nor imported"
            for block, code in self._compiled
            for name, line in _globals_of(code)
            if name not in known
        ]

    def run_python(self, block: Block) -> None:
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        path = str(block.page)
        tree = ast.parse(block.padded(self._last_class))
        code = compile(tree, path, "exec", flags, dont_inherit=True)
        self._compiled.append((block, code))
        awaitable = eval(code, self._names)  # noqa: S307 (our own pages)
        if inspect.iscoroutine(awaitable):
            async_to_sync(_wait_for)(awaitable)
        for statement in tree.body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)]):
                    self._apply(name)
                case ast.ClassDef(name=name):
                    self._last_class = name
                    self._test_class(self._names[name])
                case ast.FunctionDef(name=name) if name.startswith("test_"):
                    self._test(self._names[name])

    def run_session(self, block: Block) -> None:
        test = doctest.DocTestParser().get_doctest(
            block.code, self._names, block.place, str(block.page), block.line
        )
        said: list[str] = []
        doctest.DocTestRunner(verbose=False).run(
            test, out=said.append, clear_globs=False
        )
        assert "".join(said) == ""
        self._names.update(test.globs)

    def _test_class(self, declared: type) -> None:
        if not issubclass(declared, unittest.TestCase):
            return
        shop.delete_rows()
        found = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(declared).run(found)
        assert found.testsRun
        assert [text for _, text in found.errors + found.failures] == []

    def _test(self, function: Callable[..., None]) -> None:
        shop.delete_rows()
        fixtures = inspect.signature(function).parameters
        function(**{name: self._fixture(name) for name in fixtures})

    def _save_as(self, name: str) -> None:
        """What the page defines from here on is in the module ``name``."""
        self._module.__name__ = name
        package, _, _ = name.rpartition(".")
        if package and package not in sys.modules:
            self._monkeypatch.setitem(sys.modules, package, ModuleType(package))
        self._monkeypatch.setitem(sys.modules, name, self._module)

    def _apply(self, setting: str) -> None:
        value = self._names[setting]
        if setting in {"BGTASKS", "TASKS"}:
            setattr(self._settings, setting, value)
            get_settings()
            assert check_periodic_jobs() == []
        if setting == "DATABASE_ROUTERS":
            assert all(import_string(path)() for path in value)


RUNNERS = {"python": Reader.run_python, "pycon": Reader.run_session}


def _globals_of(code: CodeType) -> Iterator[tuple[str, int | None]]:
    for step in dis.get_instructions(code):
        if step.opname == "LOAD_GLOBAL":
            yield step.argval, step.positions and step.positions.lineno
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_of(constant)


async def _wait_for(awaitable):
    return await awaitable


def _batched(iterable, size):
    iterator = iter(iterable)
    while batch := tuple(itertools.islice(iterator, size)):
        yield batch
