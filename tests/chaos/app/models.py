from django.db import models


class Outcome(models.Model):
    """An outcome that was written to the row of a job, as the database saw it."""

    job = models.UUIDField()
    status = models.CharField(max_length=10)
    run_token = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.job}: {self.status} by claim {self.run_token}"


class Counter(models.Model):
    """Counts what ``atomic=True`` tasks have done."""

    name = models.CharField(max_length=20, primary_key=True)
    value = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name}: {self.value}"
