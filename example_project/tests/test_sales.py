import csv
from datetime import date
from decimal import Decimal

import pytest
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from django_bgtasks.models import Job
from sales import forms, starting, tasks
from sales.bootstrap import mean_interval
from sales.models import Import, RejectedRow, Report, Sale
from sales.rows import COLUMNS, RowError, parse
from sales.sample import sample_csv
from sales.tasks import compute_report, import_sales

pytestmark = pytest.mark.django_db

HEADER = ",".join(COLUMNS)
GOOD_ROW = dict(zip(COLUMNS, ["a1", "2025-12-31", "Tea pot", "2", "24.5"], strict=True))


def make_import(*lines):
    content = "\n".join([HEADER, *lines]).encode()
    return Import.objects.create(name="x", file=ContentFile(content, name="x.csv"))


def upload(client, content):
    file = SimpleUploadedFile("x.csv", content)
    return client.post(reverse("sales:imports"), {"file": file})


def test_a_good_row_becomes_the_values_of_a_sale():
    assert parse(GOOD_ROW) == {
        "order_number": "A1",
        "sold_on": date(2025, 12, 31),
        "product": "Tea pot",
        "quantity": 2,
        "unit_price": Decimal("24.50"),
    }


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("order_number", " ", "order_number"),
        ("order_number", "ä", "order_number"),
        ("order_number", "1" * 21, "order_number"),
        ("sold_on", "2025-02-30", "not a date"),
        ("product", "", "product"),
        ("product", "x" * 101, "product"),
        ("quantity", "many", "whole number"),
        ("quantity", "0", "between"),
        ("quantity", "9" * 5000, "whole number"),
        ("unit_price", "free", "not a number"),
        ("unit_price", "NaN", "between"),
        ("unit_price", "-Infinity", "between"),
        ("unit_price", "1e999999", "between"),
        ("unit_price", None, "cells"),
        (None, ["one too many"], "cells"),
    ],
)
def test_a_bad_row_says_why(column, value, reason):
    with pytest.raises(RowError, match=reason):
        parse(GOOD_ROW | {column: value})


def test_import_keeps_rejected_rows_with_line_and_reason():
    source = make_import(
        "A1,2025-01-01,Tea pot,1,24.50",
        "A2,2025-01-01,Tea pot,-3,24.50",
        'a1,2025-01-01,"Pot, large",1,24.50',
    )

    assert import_sales.now(source.pk) == {"accepted": 1, "rejected": 2}

    assert list(source.rejected_rows.values_list("line", "reason", "text")) == [
        (
            3,
            "quantity is not between 1 and 100000",
            "A2,2025-01-01,Tea pot,-3,24.50",
        ),
        (
            4,
            "order_number stands in an earlier line too",
            "a1,2025-01-01,Pot, large,1,24.50",
        ),
    ]


def test_an_attempt_removes_what_the_one_before_has_left(monkeypatch):
    monkeypatch.setattr(tasks, "BATCH_SIZE", 10)
    source = make_import(*sample_csv(25).splitlines()[1:])
    with monkeypatch.context() as patch:
        patch.setattr(tasks, "note_counts", lambda source: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            import_sales.now(source.pk)

    counts = import_sales.now(source.pk)

    assert counts["accepted"] + counts["rejected"] == 25
    assert Sale.objects.count() == counts["accepted"]
    assert RejectedRow.objects.count() == counts["rejected"]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"some,other,columns\n", "The first line is not"),
        (HEADER.encode() + b"\n\xff\xfe", "not UTF-8"),
        (HEADER.encode() + b"\na\0b", "not a text file"),
    ],
)
def test_upload_refuses_files_of_another_kind(client, content, error):
    assert error in upload(client, content).content.decode()
    assert not Import.objects.exists()


def test_upload_refuses_what_is_too_large(client, monkeypatch):
    monkeypatch.setattr(forms, "MOST_BYTES", 10)

    assert b"larger than" in upload(client, HEADER.encode()).content


def test_upload_takes_what_spreadsheets_write(client):
    upload(client, f"\ufeff{HEADER}\r\nA1,2025-01-01,Tea pot,1,24.50\r\n".encode())

    assert import_sales.now(Import.objects.get().pk) == {"accepted": 1, "rejected": 0}


def test_from_the_sample_button_to_the_report(client, drain, monkeypatch):
    monkeypatch.setattr(starting, "SAMPLE_ROWS", 2000)
    page = client.post(reverse("sales:import_sample")).headers["Location"]
    drain()

    source = Import.objects.get()
    assert source.accepted + source.rejected == 2000
    assert source.job.status == Job.Status.SUCCESSFUL
    assert source.job.progress["done"] == source.job.progress["total"] == 2000
    assert f"{source.accepted:,} rows accepted" in client.get(page).content.decode()

    page = client.post(reverse("sales:reports")).headers["Location"]
    drain()

    report = Report.objects.get()
    assert report.job.result == {"months": 24}
    assert sum(month["orders"] for month in report.months) == source.accepted
    assert report.months[0]["mean"] in client.get(page).content.decode()


def test_rejected_rows_are_downloaded_without_formulas(client):
    source = make_import("=1+1,2025-01-01,Tea pot,1,24.50")
    import_sales.now(source.pk)

    response = client.get(reverse("sales:rejected_csv", args=[source.pk]))

    header, row = csv.reader(response.content.decode().splitlines())
    assert header == ["line", "reason", "text"]
    assert row[2] == "'=1+1,2025-01-01,Tea pot,1,24.50"
    assert "attachment" in response.headers["Content-Disposition"]


def test_report_adds_up_exactly(client):
    source = make_import(
        "A1,2025-01-01,Tea pot,3,0.10",
        "A2,2025-01-31,Tea pot,1,0.20",
        "A3,2025-03-01,Tea pot,1,9.99",
    )
    import_sales.now(source.pk)
    report = Report.objects.create(source=source)

    compute_report.now(report.pk)

    response = client.get(reverse("sales:report_csv", args=[report.pk]))
    rows = list(csv.DictReader(response.content.decode().splitlines()))
    assert [(row["month"], row["orders"], row["revenue"]) for row in rows] == [
        ("2025-01", "2", "0.50"),
        ("2025-03", "1", "9.99"),
    ]


def test_there_is_no_download_before_the_report_is_finished(client):
    report = Report.objects.create(source=make_import())

    response = client.get(reverse("sales:report_csv", args=[report.pk]))

    assert response.status_code == 404


def test_a_report_on_nothing_is_refused(client):
    response = client.post(reverse("sales:reports"), follow=True)

    assert b"There is nothing to report on" in response.content
    assert not Report.objects.exists()


def test_the_interval_lies_around_the_mean_and_is_repeatable():
    values = [float(number) for number in range(100)]

    low, high = mean_interval(values)

    assert 40 < low < 49.5 < high < 59
    assert mean_interval(values) == (low, high)
