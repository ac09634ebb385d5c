from django.contrib import messages
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import (
    require_GET,
    require_http_methods,
    require_POST,
)

from sales.csv_files import csv_response
from sales.forms import ImportForm
from sales.models import Import, Report
from sales.starting import (
    SAMPLE_ROWS,
    newest_import,
    start_import,
    start_report,
    start_sample_import,
)

NEWEST = 10
REJECTED_SHOWN = 50
REPORT_COLUMNS = ["month", "orders", "revenue", "mean", "mean_low", "mean_high"]


@require_http_methods(["GET", "HEAD", "POST"])
def imports(request):
    form = ImportForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        upload = form.cleaned_data["file"]
        return redirect("sales:import", start_import(upload.name, upload).pk)
    context = {
        "form": form,
        "imports": Import.objects.all()[:NEWEST],
        "sample_rows": SAMPLE_ROWS,
    }
    return render(request, "sales/imports.html", context)


@require_POST
def import_sample(request):
    return redirect("sales:import", start_sample_import().pk)


@require_GET
def import_detail(request, import_id):
    source = get_object_or_404(Import, pk=import_id)
    context = {
        "import": source,
        "rejected_rows": source.rejected_rows.all()[:REJECTED_SHOWN],
    }
    return render(request, "sales/import.html", context)


@require_GET
def rejected_csv(request, import_id):
    source = get_object_or_404(Import, pk=import_id)
    columns = ["line", "reason", "text"]
    rows = source.rejected_rows.values_list(*columns)
    return csv_response(f"rejected-{source.pk}.csv", columns, rows)


@require_http_methods(["GET", "HEAD", "POST"])
def reports(request):
    if request.method == "POST":
        return show_new_report(request)
    context = {"source": newest_import(), "reports": Report.objects.all()[:NEWEST]}
    return render(request, "sales/reports.html", context)


def show_new_report(request):
    report = start_report()
    if report is None:
        messages.error(request, "There is nothing to report on: import something.")
        return redirect("sales:reports")
    return redirect("sales:report", report.pk)


@require_GET
def report_detail(request, report_id):
    report = get_object_or_404(Report.objects.select_related("source"), pk=report_id)
    return render(request, "sales/report.html", {"report": report})


@require_GET
def report_csv(request, report_id):
    report = get_object_or_404(Report, pk=report_id)
    if report.months is None:
        raise Http404("The report is not finished.")
    rows = [[month[column] for column in REPORT_COLUMNS] for month in report.months]
    return csv_response(f"report-{report.pk}.csv", REPORT_COLUMNS, rows)
