from django_bgtasks.models.dashboard import Dashboard
from django_bgtasks.models.job import Attempt, Job, JobQuerySet
from django_bgtasks.models.queue import Queue
from django_bgtasks.models.schedule import Schedule, ScheduleQuerySet
from django_bgtasks.models.tally import Tally
from django_bgtasks.models.worker import Worker

__all__ = [
    "Attempt",
    "Dashboard",
    "Job",
    "JobQuerySet",
    "Queue",
    "Schedule",
    "ScheduleQuerySet",
    "Tally",
    "Worker",
]
