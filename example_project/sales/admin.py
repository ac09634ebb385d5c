from django.contrib import admin

from sales.models import Import


@admin.register(Import)
class ImportAdmin(admin.ModelAdmin):
    list_display = ["name", "created_at", "accepted", "rejected"]
