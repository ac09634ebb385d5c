from uuid import UUID

from django.http import HttpResponseBadRequest, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from django_bgtasks.models import Job

RECENT_JOBS = 12
MOST_STATUSES_AT_ONCE = 50


@require_GET
def home(request):
    # Job ids are in the order of their making, so the primary key is all it takes.
    jobs = Job.objects.order_by("-id")[:RECENT_JOBS]
    return render(request, "jobs/home.html", {"jobs": jobs})


@require_GET
def job_detail(request, job_id):
    job = get_object_or_404(Job, pk=job_id)
    return render(request, "jobs/job.html", {"job": job})


@require_GET
@never_cache
def job_status(request):
    """What became of the jobs named by ``?id=...&id=...``.

    Nobody can guess an id, so whoever names one may see how its job is doing; not
    its arguments nor its errors, which may say more than the visitor should know.
    """
    try:
        ids = [UUID(value) for value in request.GET.getlist("id")]
    except ValueError:
        return HttpResponseBadRequest("An id is not a UUID.")
    jobs = Job.objects.filter(pk__in=ids[:MOST_STATUSES_AT_ONCE])
    return JsonResponse({"jobs": {str(job.pk): public_status(job) for job in jobs}})


def public_status(job):
    return {
        "status": job.status,
        "attempt": job.attempt,
        "progress": job.progress,
        "result": job.result,
    }
