"""The pages of the admin. Importing this package registers them."""

from django_bgtasks.admin.dashboard import DashboardAdmin
from django_bgtasks.admin.job import JobAdmin
from django_bgtasks.admin.queue import QueueAdmin
from django_bgtasks.admin.schedule import ScheduleAdmin
from django_bgtasks.admin.worker import WorkerAdmin

__all__ = ["DashboardAdmin", "JobAdmin", "QueueAdmin", "ScheduleAdmin", "WorkerAdmin"]
