from django import template

register = template.Library()


@register.inclusion_tag("jobs/badge.html")
def job_badge(job):
    """The status of a job in a word."""
    return {"job": job}


@register.filter
def short_task(job):
    """``pictures.make_thumbnails`` for ``pictures.tasks.make_thumbnails``."""
    return job.task.replace(".tasks.", ".")
