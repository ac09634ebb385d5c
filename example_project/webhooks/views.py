from django.conf import settings
from django.db import transaction
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from webhooks.forms import WebhookForm
from webhooks.models import ReceivedEvent, Webhook
from webhooks.tasks import deliver_webhook

NEWEST = 10


@require_http_methods(["GET", "HEAD", "POST"])
def index(request):
    form = WebhookForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return redirect("webhooks:detail", announce(form).pk)
    context = {
        "form": form,
        "failure_rate": settings.WEBHOOK_FAILURE_RATE * 100,
        "webhooks": Webhook.objects.all()[:NEWEST],
    }
    return render(request, "webhooks/index.html", context)


def announce(form):
    # The event and its job appear together or not at all.
    with transaction.atomic():
        webhook = form.save()
        webhook.start(deliver_webhook)
    return webhook


@require_GET
def detail(request, webhook_id):
    webhook = get_object_or_404(Webhook, pk=webhook_id)
    received = ReceivedEvent.objects.filter(event_id=webhook.event_id).first()
    context = {"webhook": webhook, "received": received}
    return render(request, "webhooks/detail.html", context)
