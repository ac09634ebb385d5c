from django import template

register = template.Library()


@register.inclusion_tag("jobs/badge.html")
def job_badge(job):
    """The status of a job, kept up to date by live.js."""
    return {"job": job}


@register.inclusion_tag("jobs/card.html")
def job_card(job):
    """Status, progress and times of a job. ``None``: it has been pruned."""
    return {"job": job}


@register.filter
def short_task(job):
    """``pictures.make_thumbnails`` for ``pictures.tasks.make_thumbnails``."""
    return job.task.replace(".tasks.", ".")
