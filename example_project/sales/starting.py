from django.core.files.base import ContentFile
from django.db import transaction

from sales.models import Import, Report
from sales.sample import sample_csv
from sales.tasks import compute_report, import_sales

SAMPLE_ROWS = 30_000


def start_import(name, file):
    # The file's row and its job appear together or not at all.
    with transaction.atomic():
        source = Import.objects.create(name=name[:100], file=file)
        source.start(import_sales)
    return source


def start_sample_import():
    file = ContentFile(sample_csv(SAMPLE_ROWS).encode(), name="sample.csv")
    return start_import("Sample", file)


def start_report():
    """A report on the newest import; None if there is nothing to report on."""
    source = newest_import()
    if source is None:
        return None
    with transaction.atomic():
        report = Report.objects.create(source=source)
        report.start(compute_report)
    return report


def newest_import():
    return Import.objects.filter(accepted__gt=0).first()
