import csv
from itertools import islice

from django.db import transaction

from django_bgtasks import background
from sales.bootstrap import mean_interval
from sales.csv_files import count_rows, open_rows
from sales.models import Import, RejectedRow, Report, Sale
from sales.rows import RowError, parse

# Small enough that no web request waits long for the transaction that writes it.
BATCH_SIZE = 500


@background(takes_context=True, no_retry_on=(csv.Error, UnicodeDecodeError))
def import_sales(context, import_id):
    """Read the file in batches. An attempt begins anew: it removes what an earlier
    one, cut off in the middle, has left.
    """
    source = Import.objects.get(pk=import_id)
    source.sales.all().delete()
    source.rejected_rows.all().delete()

    total = count_rows(source.file)
    seen = set()
    with open_rows(source.file) as reader:
        while batch := read_batch(source, reader, seen):
            save_batch(batch)
            done = min(reader.line_num - 1, total)
            context.progress(done, total, f"{done:,} of {total:,} rows")
    return note_counts(source)


def read_batch(source, reader, seen):
    return [
        to_instance(source, row, reader.line_num, seen)
        for row in islice(reader, BATCH_SIZE)
    ]


def to_instance(source, row, line, seen):
    try:
        values = parse(row)
        note_order_number(values["order_number"], seen)
    except RowError as error:
        text = ",".join(str(cell) for cell in row.values() if cell is not None)[:500]
        return RejectedRow(source=source, line=line, reason=str(error), text=text)
    return Sale(source=source, **values)


def note_order_number(number, seen):
    if number in seen:
        raise RowError("order_number stands in an earlier line too")
    seen.add(number)


def save_batch(batch):
    with transaction.atomic():
        for model in (Sale, RejectedRow):
            model.objects.bulk_create(row for row in batch if isinstance(row, model))


def note_counts(source):
    source.accepted = source.sales.count()
    source.rejected = source.rejected_rows.count()
    source.save(update_fields=["accepted", "rejected"])
    return {"accepted": source.accepted, "rejected": source.rejected}


@background(takes_context=True, queue_name="reports")
def compute_report(context, report_id):
    """Month by month, so that there is something to report on the way."""
    report = Report.objects.select_related("source").get(pk=report_id)
    sales = report.source.sales
    months = list(sales.dates("sold_on", "month"))
    lines = []
    for number, month in enumerate(months, start=1):
        context.progress(number - 1, len(months), f"{month:%B %Y}")
        lines.append(summarise(month, sales))
    context.progress(len(months), len(months), f"{len(months)} months")
    report.months = lines
    report.save(update_fields=["months"])
    return {"months": len(lines)}


@background
def report_on_new_imports():
    """Start a report on each import that is complete and has none yet."""
    complete = Import.objects.filter(accepted__isnull=False, report=None)
    for source in complete:
        with transaction.atomic():
            Report.objects.create(source=source).start(compute_report)
    return {"reports": len(complete)}


def summarise(month, sales):
    in_month = sales.filter(sold_on__year=month.year, sold_on__month=month.month)
    amounts = [
        quantity * price
        for quantity, price in in_month.values_list("quantity", "unit_price")
    ]
    low, high = mean_interval([float(amount) for amount in amounts])
    return {
        "month": f"{month:%Y-%m}",
        "orders": len(amounts),
        "revenue": sum(amounts),
        "mean": f"{sum(amounts) / len(amounts):.2f}",
        "mean_low": f"{low:.2f}",
        "mean_high": f"{high:.2f}",
    }
