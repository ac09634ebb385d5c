"""Jobs as CSV and JSON: any number, written as they are read."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import OuterRef, Subquery
from django.http import StreamingHttpResponse

from django_bgtasks.admin.display import masked, visible_call
from django_bgtasks.models import Attempt, Job
from django_bgtasks.redaction import Secrets
from django_bgtasks.store import walking
from django_bgtasks.store.engines import get_engine
from django_bgtasks.store.selection import Selection
from django_bgtasks.tasks import secrets_of

#: Jobs that are read at a time.
BATCH = 500

Batches = Iterable[Sequence[UUID]]
Row = dict[str, Any]

_COLUMNS = (
    "id",
    "task",
    "verbose_name",
    "status",
    "queue",
    "priority",
    "attempt",
    "max_attempts",
    "enqueued_at",
    "run_after",
    "started_at",
    "finished_at",
    "last_worker",
    "schedule",
    "scheduled_for",
    "creator",
    "parent",
    "tags",
    "cancel_requested_by",
    "last_exception",
)
#: Of these one needs the permission to see them: an error may quote an argument.
_ARGUMENTS = ("args", "kwargs", "result", "metadata", "progress", "last_error")
#: What is read of a job's last attempt that did not succeed.
_OF_ATTEMPT = {"last_exception": "exception_class_path", "last_error": "error"}


def batches_of(ids: Sequence[UUID]) -> Batches:
    """These jobs, so many at a time."""
    return [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]


def batches_of_selection(selection: Selection) -> Batches:
    """All jobs of ``selection``, so many at a time."""
    return (ids for ids, _rest in walking.batches(selection, BATCH))


def as_csv(batches: Batches, *, with_arguments: bool) -> StreamingHttpResponse:
    """A table, with a first line that names its columns."""
    columns = _columns(with_arguments)
    writer = csv.writer(_Echo())
    rows = ([_cell(row[name]) for name in columns] for row in _rows(batches, columns))
    lines = (writer.writerow(line) for line in _after(columns, rows))
    return _download(lines, "text/csv; charset=utf-8", "jobs.csv")


def as_json(batches: Batches, *, with_arguments: bool) -> StreamingHttpResponse:
    """A list of objects, one a line."""
    columns = _columns(with_arguments)
    return _download(
        _json_lines(_rows(batches, columns)), "application/json", "jobs.json"
    )


#: By their names.
FORMS: dict[str, Callable[..., StreamingHttpResponse]] = {
    "csv": as_csv,
    "json": as_json,
}


def _columns(with_arguments: bool) -> tuple[str, ...]:
    return (*_COLUMNS, *_ARGUMENTS) if with_arguments else _COLUMNS


def _rows(batches: Batches, columns: Sequence[str]) -> Iterator[Row]:
    for ids in batches:
        found = {job.pk: job for job in _read(ids, columns)}
        # Some may be gone since.
        yield from (_row(found[pk], columns) for pk in ids if pk in found)


def _read(ids: Sequence[UUID], columns: Sequence[str]) -> Iterable[Job]:
    last = Attempt.objects.filter(job=OuterRef("pk")).order_by("-id")
    jobs = Job.objects.using(get_engine().alias).filter(pk__in=ids)
    return jobs.only(*(name for name in columns if name not in _OF_ATTEMPT)).annotate(
        **{
            name: Subquery(last.values(column)[:1])
            for name, column in _OF_ATTEMPT.items()
            if name in columns
        }
    )


def _row(job: Job, columns: Sequence[str]) -> Row:
    row = {name: getattr(job, name) for name in columns if name not in _ARGUMENTS}
    row["tags"] = list(job.tags)
    if "args" in columns:
        secrets = secrets_of(job)
        row["args"], row["kwargs"] = visible_call(job)
        for name in ("result", "metadata", "progress", "last_error"):
            row[name] = _visible(getattr(job, name), secrets)
    return row


def _visible(value: Any, secrets: Secrets | None) -> Any:
    """A value without what must not be seen; if there is such, as a text."""
    if isinstance(value, str):
        return masked(value, secrets)
    text = json.dumps(value, ensure_ascii=False)
    shown = masked(text, secrets)
    return value if shown == text else shown


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            text = value
        case list() | dict():
            text = json.dumps(value, ensure_ascii=False)
        case int():
            return str(value)
        case _:
            text = json.loads(_json(value))
    # What begins so, a spreadsheet would take for a formula, and run it.
    text = (
        f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text
    )
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _json_lines(rows: Iterator[Row]) -> Iterator[str]:
    before = "["
    for row in rows:
        yield f"{before}\n{_json(row)}"
        before = ","
    yield "\n]\n" if before == "," else "[]\n"


def _json(value: Any) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder)


def _after(first: Iterable[Any], rest: Iterable[Iterable[Any]]) -> Iterator[Any]:
    yield first
    yield from rest


class _Echo:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        return text


def _download(lines: Iterable[str], kind: str, name: str) -> StreamingHttpResponse:
    return StreamingHttpResponse(
        lines,
        content_type=kind,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
