import codecs
import csv
from contextlib import contextmanager

from django.http import HttpResponse

# A spreadsheet would run a cell that begins with one of these as a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@contextmanager
def open_rows(field_file):
    """A DictReader over an uploaded file, decoded line by line."""
    with field_file.open("rb") as file:
        yield csv.DictReader(codecs.iterdecode(file, "utf-8-sig"))


def count_rows(field_file):
    """About how many: a quoted cell may run over several lines."""
    with field_file.open("rb") as file:
        return max(sum(1 for _ in file) - 1, 1)


def csv_response(filename, header, rows):
    disposition = {"Content-Disposition": f'attachment; filename="{filename}"'}
    response = HttpResponse(content_type="text/csv; charset=utf-8", headers=disposition)
    writer = csv.writer(response)
    writer.writerow(header)
    writer.writerows([harmless(cell) for cell in row] for row in rows)
    return response


def harmless(cell):
    if isinstance(cell, str) and cell.startswith(FORMULA_STARTS):
        return f"'{cell}"
    return cell
