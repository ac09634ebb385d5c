"""What import-linter cannot see of the architecture: words, writes, and timing.

The layers themselves are contracts in pyproject.toml (``lint-imports``).
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "django_bgtasks"

DEFINITIONS = (
    "arguments",
    "context",
    "limits",
    "outcomes",
    "periodic",
    "redaction",
    "retries",
    "tasks",
    "workflows",
)
VENDOR = re.compile(
    r"(?<![a-z])(postgres(ql)?|sqlite|mysql|mariadb)(?![a-z])", re.IGNORECASE
)
#: Methods that write rows and take columns as keywords.
WRITERS = re.compile(r"a?(bulk_)?(update|create|(get|update)_or_create)")
STATUS_SQL = re.compile(
    r"\s*(insert\s+into|update)\s.*\bstatus\b.*(=|values|select)",
    re.IGNORECASE | re.DOTALL,
)

pytestmark = pytest.mark.once


def test_vendor_names_stand_only_in_engines_and_migrations():
    assert not [
        f"{where}: {word}"
        for where, word in words_of_code(outside=["store/engines", "migrations"])
        if VENDOR.search(word)
    ]


def test_a_status_is_written_only_in_the_store():
    assert not [
        f"{place(path, node)}: {ast.unparse(node)}"
        for path, tree in modules(outside=["store", "migrations"])
        for node in ast.walk(tree)
        if writes_status(node)
    ]


def test_definitions_import_no_models():
    assert not [
        f"{place(path, node)}: {ast.unparse(node)}"
        for path, tree in modules()
        if path.stem in DEFINITIONS and path.parent == PACKAGE
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        and re.search(r"\b(models|store)\b", ast.unparse(node))
    ]


def test_definitions_can_be_imported_before_there_are_settings():
    names = [name for name in DEFINITIONS if (PACKAGE / f"{name}.py").exists()]
    code = "".join(f"import django_bgtasks.{name}\n" for name in names) + (
        "import sys\n"
        "from django.conf import settings\n"
        "assert not settings.configured\n"
        "assert 'django_bgtasks.models' not in sys.modules\n"
    )
    # Isolated, so that no DJANGO_SETTINGS_MODULE of ours helps it.
    command = [
        sys.executable,
        "-I",
        "-c",
        f"import sys; sys.path[:0] = {[str(ROOT)]}\n{code}",
    ]
    result = subprocess.run(command, capture_output=True, check=False, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "code",
    [
        "job.status = 'READY'",
        "job.status, job.worker = 'READY', None",
        "setattr(job, 'status', 'READY')",
        "Job(status='READY')",
        "Job.objects.filter(pk=1).update(status='READY', worker=None)",
        "Job.objects.update_or_create(pk=1, defaults={'status': 'READY'})",
        "Job.objects.bulk_update(jobs, ['status'])",
        "await Job.objects.acreate(status='READY')",
        "job.save(update_fields=['status'])",
        "cursor.execute('UPDATE bgtasks_job SET status = %s')",
        "cursor.execute(f'UPDATE {table} SET status = %s')",
    ],
)
def test_writes_of_a_status_are_recognised(code):
    assert any(writes_status(node) for node in ast.walk(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "Job.objects.filter(status='READY').count()",
        "TaskResult(status=TaskResultStatus.READY)",
        "counts.update({'READY': 1})",
        "'Update the status of the job'.title()",
        "status = job.status",
    ],
)
def test_reads_of_a_status_are_not_taken_for_writes(code):
    assert not any(writes_status(node) for node in ast.walk(ast.parse(code)))


def modules(outside: Sequence[str] = ()) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if not any(path.is_relative_to(PACKAGE / folder) for folder in outside):
            yield path, ast.parse(path.read_text("utf-8"))


def words_of_code(outside: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Names, and strings that a program reads. Prose has spaces, and is for people."""
    for path, tree in modules(outside):
        for node in ast.walk(tree):
            for word in words(node):
                if " " not in word:
                    yield place(path, node), word


def words(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.Name(id=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
            yield name
        case ast.Attribute(attr=name) | ast.alias(name=name):
            yield name
        case ast.ImportFrom(module=str(name)):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
        case ast.ClassDef(name=name):
            yield name


def writes_status(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(attr="status", ctx=ast.Store()):
            return True
        case ast.Call(func=ast.Name(id="setattr"), args=[_, field, *_]):
            return is_status(field)
        case ast.Call(func=ast.Name(id="Job")):
            return any(keyword.arg == "status" for keyword in node.keywords)
        case ast.Call(func=ast.Attribute(attr="save" | "asave")):
            return any(map(is_status, ast.walk(node)))
        case ast.Call(func=ast.Attribute(attr=method)) if WRITERS.fullmatch(method):
            return any(k.arg == "status" for k in node.keywords) or any(
                map(is_status, ast.walk(node))
            )
        case ast.Constant(value=str(text)):
            return bool(STATUS_SQL.match(text))
        case ast.JoinedStr(values=parts):
            return bool(STATUS_SQL.match("".join(map(literal_text, parts))))
    return False


def literal_text(part: ast.expr) -> str:
    return str(part.value) if isinstance(part, ast.Constant) else "?"


def is_status(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value == "status"


def place(path: Path, node: ast.AST) -> str:
    line = getattr(node, "lineno", "?")
    return f"{path.relative_to(ROOT).as_posix()}:{line}"
