from django.contrib import messages
from django.db import transaction
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import (
    require_GET,
    require_http_methods,
    require_POST,
)

from django_bgtasks.models import Job
from newsletter.forms import NewsletterForm, SubscriberForm
from newsletter.models import Newsletter, Subscriber
from newsletter.outbox import newest_messages
from newsletter.tasks import send_newsletter

NEWEST = 10
MESSAGES_SHOWN = 25


@require_http_methods(["GET", "HEAD", "POST"])
def index(request):
    form = NewsletterForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return redirect("newsletter:detail", send(form).pk)
    context = {
        "form": form,
        "newsletters": Newsletter.objects.all()[:NEWEST],
        "subscribers": Subscriber.objects.filter(is_active=True).count(),
    }
    return render(request, "newsletter/index.html", context)


def send(form):
    # The newsletter and its job appear together or not at all.
    with transaction.atomic():
        newsletter = form.save()
        newsletter.start(send_newsletter)
    return newsletter


@require_GET
def detail(request, newsletter_id):
    newsletter = get_object_or_404(Newsletter, pk=newsletter_id)
    deliveries = list(newsletter.deliveries.select_related("subscriber"))
    jobs = Job.objects.in_bulk([delivery.job_id for delivery in deliveries])
    context = {
        "newsletter": newsletter,
        "deliveries": [(each, jobs.get(each.job_id)) for each in deliveries],
        "sent": sum(each.sent_at is not None for each in deliveries),
        "goes_on": not deliveries or any(not job.finished_at for job in jobs.values()),
    }
    return render(request, "newsletter/detail.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def subscribers(request):
    form = SubscriberForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        subscriber = form.save()
        messages.success(request, f"{subscriber.name} is subscribed.")
        return redirect("newsletter:subscribers")
    context = {"form": form, "subscribers": Subscriber.objects.all()}
    return render(request, "newsletter/subscribers.html", context)


@require_POST
def unsubscribe(request, subscriber_id):
    subscriber = get_object_or_404(Subscriber, pk=subscriber_id)
    subscriber.is_active = False
    subscriber.save(update_fields=["is_active"])
    return redirect("newsletter:subscribers")


@require_GET
def outbox(request):
    context = {"mails": newest_messages(MESSAGES_SHOWN)}
    return render(request, "newsletter/outbox.html", context)
