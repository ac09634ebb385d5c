from django.db import models
from django.utils.functional import cached_property

from django_bgtasks.models import Job


class WithJob(models.Model):
    """A row that a job works on, and which remembers the job.

    There is no foreign key: finished jobs are pruned one day, this row stays.
    """

    job_id = models.UUIDField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        abstract = True

    @cached_property
    def job(self):
        return Job.objects.filter(pk=self.job_id).first()

    def start(self, task):
        """Enqueue ``task`` with this row's key, and remember the job."""
        self.job_id = task(self.pk).id
        self.save(update_fields=["job_id"])
