"""Numbers about runs that ended: what statistics read, so that nothing scans jobs."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_bgtasks.models.job import new_id

#: What is counted by how it ended.
COUNTS = ("successful", "failed", "cancelled", "retried")
#: What is added up, besides histograms.
SUMMED = (*COUNTS, "wait_seconds", "run_seconds")


class Tally(models.Model):
    """How many runs on one queue ended within a minute, or within an hour, and how.

    There may be several of the same time: workers only ever add rows. Whoever reads
    adds them up.

    ``waits`` and ``runs`` are histograms: how many took so long, by the bit length of
    their microseconds. Bucket 11 holds what took from 1024 to 2047 of them.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    queue = models.CharField(_("queue"), max_length=100)
    #: The beginning of its time.
    minute = models.DateTimeField(_("minute"))
    span = models.PositiveSmallIntegerField(_("minutes"), default=1)

    successful = models.PositiveIntegerField(_("successful"), default=0)
    failed = models.PositiveIntegerField(_("failed"), default=0)
    cancelled = models.PositiveIntegerField(_("cancelled"), default=0)
    #: Attempts that failed, of jobs that are tried again.
    retried = models.PositiveIntegerField(_("tried again"), default=0)

    wait_seconds = models.FloatField(_("seconds waited"), default=0.0)
    run_seconds = models.FloatField(_("seconds run"), default=0.0)
    waits = models.JSONField(_("waits"), default=dict)
    runs = models.JSONField(_("runs"), default=dict)
    #: The most jobs that were seen to wait; NULL: nobody looked. A row without a queue
    #: tells it of all queues together.
    waiting = models.PositiveIntegerField(_("waiting"), null=True)

    class Meta:
        verbose_name = _("tally")
        verbose_name_plural = _("tallies")
        indexes = [models.Index(fields=["minute"], name="bgtasks_tally_minute")]

    def __str__(self) -> str:
        return f"{self.queue} {self.minute}"

    @classmethod
    def sum_of(
        cls, tallies: Collection[Tally], queue: str, minute: datetime, span: int
    ) -> Tally:
        """A new one that says what all of ``tallies`` say."""
        total = cls(queue=queue, minute=minute, span=span)
        total.waits, total.runs = {}, {}
        for tally in tallies:
            for name in SUMMED:
                setattr(total, name, getattr(total, name) + getattr(tally, name))
            _add_to(total.waits, tally.waits)
            _add_to(total.runs, tally.runs)
        total.waiting = max(
            (tally.waiting for tally in tallies if tally.waiting is not None),
            default=None,
        )
        return total


def _add_to(total: dict[str, int], histogram: dict[str, int]) -> None:
    # A chart adds up thousands of them; Counter.update() takes twice as long.
    for bucket, count in histogram.items():
        total[bucket] = total.get(bucket, 0) + count
