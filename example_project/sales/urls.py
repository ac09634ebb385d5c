from django.urls import path

from sales import views

app_name = "sales"

urlpatterns = [
    path("imports/", views.imports, name="imports"),
    path("imports/sample/", views.import_sample, name="import_sample"),
    path("imports/<int:import_id>/", views.import_detail, name="import"),
    path(
        "imports/<int:import_id>/rejected.csv", views.rejected_csv, name="rejected_csv"
    ),
    path("reports/", views.reports, name="reports"),
    path("reports/<int:report_id>/", views.report_detail, name="report"),
    path("reports/<int:report_id>/report.csv", views.report_csv, name="report_csv"),
]
