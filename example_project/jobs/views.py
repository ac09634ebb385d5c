from datetime import timedelta

from django.contrib import messages
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from django_bgtasks.models import Job
from django_bgtasks.store.overview import overview
from django_bgtasks.store.stats import summary
from jobs.starting import STARTERS

RECENT_JOBS = 6
HOUR = timedelta(hours=1)

BUTTONS = [
    ("import", "Import 30,000 rows", "In batches, with progress and time left"),
    ("report", "Compute a report", "Some seconds of arithmetic, month by month"),
    ("newsletter", "Send a newsletter", "One job for each of its readers"),
    ("webhook", "Call a webhook", "It often fails, and is tried again until it works"),
]


@require_GET
def home(request):
    # What people have started: neither follow-ups nor what is due every so often. Job
    # ids are in the order of their making, so the primary key is all it takes.
    started = Job.objects.filter(parent=None, schedule=None)
    context = {
        "starters": BUTTONS,
        "jobs": started.order_by("-id")[:RECENT_JOBS],
        "figures": figures(),
    }
    return render(request, "jobs/home.html", context)


def figures():
    """A glimpse of what the admin's dashboard shows."""
    now = overview()
    ended = summary(now.now - HOUR, now.now)
    return {
        "running": sum(queue.running for queue in now.queues),
        "waiting": sum(queue.waiting + queue.scheduled for queue in now.queues),
        "finished": sum(figures.finished for figures in ended),
        "retried": sum(figures.retried for figures in ended),
        "workers": sum(worker.is_live for worker in now.workers),
    }


@require_POST
def start(request, what):
    if what not in STARTERS:
        raise Http404
    if STARTERS[what]() is None:
        messages.error(request, "There is nothing to report on yet: import something.")
    return redirect("home")


@require_GET
def job_detail(request, job_id):
    job = get_object_or_404(Job, pk=job_id)
    return render(request, "jobs/job.html", {"job": job})
