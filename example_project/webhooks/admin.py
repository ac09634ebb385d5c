from django.contrib import admin

from webhooks.models import ReceivedEvent, Webhook


@admin.register(Webhook)
class WebhookAdmin(admin.ModelAdmin):
    list_display = ["event", "order_number", "created_at"]


@admin.register(ReceivedEvent)
class ReceivedEventAdmin(admin.ModelAdmin):
    list_display = ["event_id", "received_at"]
