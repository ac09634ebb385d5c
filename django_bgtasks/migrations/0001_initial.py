import datetime

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import django_bgtasks.models.fields
import django_bgtasks.models.job


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Queue",
            fields=[
                (
                    "name",
                    models.CharField(
                        max_length=100,
                        primary_key=True,
                        serialize=False,
                        verbose_name="name",
                    ),
                ),
                (
                    "paused_at",
                    models.DateTimeField(
                        blank=True, null=True, verbose_name="paused at"
                    ),
                ),
                (
                    "resume_at",
                    models.DateTimeField(
                        blank=True, null=True, verbose_name="resumes at"
                    ),
                ),
            ],
            options={
                "verbose_name": "queue",
                "verbose_name_plural": "queues",
                "ordering": ["name"],
                "permissions": [("pause_queue", "Can pause and resume queue")],
            },
        ),
        migrations.CreateModel(
            name="Worker",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=django_bgtasks.models.job.new_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="id",
                    ),
                ),
                ("hostname", models.CharField(max_length=255, verbose_name="host")),
                ("pid", models.PositiveIntegerField(verbose_name="process id")),
                ("queues", models.JSONField(default=list, verbose_name="queues")),
                ("threads", models.PositiveIntegerField(verbose_name="threads")),
                ("started_at", models.DateTimeField(verbose_name="started at")),
                (
                    "heartbeat_at",
                    models.DateTimeField(verbose_name="last heartbeat at"),
                ),
                (
                    "version",
                    models.CharField(
                        db_default="", max_length=32, verbose_name="version"
                    ),
                ),
                ("memory", models.BigIntegerField(null=True, verbose_name="memory")),
                (
                    "instruction",
                    models.CharField(
                        choices=[
                            ("quiet", "Quiet"),
                            ("drain", "Drain"),
                            ("stop", "Stop"),
                        ],
                        db_default="",
                        max_length=5,
                        verbose_name="instruction",
                    ),
                ),
            ],
            options={
                "verbose_name": "worker",
                "verbose_name_plural": "workers",
                "ordering": ["id"],
                "permissions": [("steer_worker", "Can quiet, drain and stop worker")],
            },
        ),
        migrations.CreateModel(
            name="Job",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=django_bgtasks.models.job.new_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="id",
                    ),
                ),
                ("task", models.CharField(max_length=255, verbose_name="task")),
                ("queue", models.CharField(max_length=100, verbose_name="queue")),
                (
                    "priority",
                    models.SmallIntegerField(default=0, verbose_name="priority"),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("SCHEDULED", "Scheduled"),
                            ("READY", "Ready"),
                            ("RUNNING", "Running"),
                            ("SUCCESSFUL", "Successful"),
                            ("FAILED", "Failed"),
                            ("CANCELLED", "Cancelled"),
                        ],
                        max_length=16,
                        verbose_name="status",
                    ),
                ),
                ("args", models.JSONField(default=list, verbose_name="arguments")),
                (
                    "kwargs",
                    models.JSONField(default=dict, verbose_name="keyword arguments"),
                ),
                ("backend", models.CharField(max_length=64, verbose_name="backend")),
                (
                    "max_attempts",
                    models.PositiveIntegerField(verbose_name="attempts allowed"),
                ),
                (
                    "timeout",
                    models.FloatField(null=True, verbose_name="time limit in seconds"),
                ),
                (
                    "on_lost",
                    models.CharField(
                        choices=[("retry", "retry"), ("fail", "fail")],
                        default="retry",
                        max_length=5,
                        verbose_name="when its worker dies",
                    ),
                ),
                (
                    "run_after",
                    models.DateTimeField(null=True, verbose_name="not before"),
                ),
                ("enqueued_at", models.DateTimeField(verbose_name="enqueued at")),
                (
                    "started_at",
                    models.DateTimeField(null=True, verbose_name="last started at"),
                ),
                (
                    "finished_at",
                    models.DateTimeField(null=True, verbose_name="finished at"),
                ),
                (
                    "attempt",
                    models.PositiveIntegerField(default=0, verbose_name="attempt"),
                ),
                (
                    "run_token",
                    models.PositiveIntegerField(default=0, verbose_name="run token"),
                ),
                ("worker", models.UUIDField(null=True, verbose_name="worker")),
                (
                    "last_worker",
                    models.UUIDField(null=True, verbose_name="last worker"),
                ),
                (
                    "cancel_requested_at",
                    models.DateTimeField(null=True, verbose_name="cancelled at"),
                ),
                (
                    "cancel_requested_by",
                    models.CharField(
                        db_default="", max_length=255, verbose_name="cancelled by"
                    ),
                ),
                (
                    "unknown_since",
                    models.DateTimeField(null=True, verbose_name="task unknown since"),
                ),
                (
                    "schedule",
                    models.CharField(
                        max_length=255, null=True, verbose_name="schedule"
                    ),
                ),
                (
                    "scheduled_for",
                    models.DateTimeField(null=True, verbose_name="scheduled for"),
                ),
                (
                    "unique_key",
                    models.CharField(
                        max_length=32, null=True, verbose_name="unique key"
                    ),
                ),
                (
                    "unique_until",
                    models.CharField(
                        choices=[
                            ("finished", "it is finished"),
                            ("started", "it is started"),
                            ("period", "its period is over"),
                        ],
                        max_length=8,
                        null=True,
                        verbose_name="unique until",
                    ),
                ),
                (
                    "unique_expires_at",
                    models.DateTimeField(null=True, verbose_name="unique until then"),
                ),
                (
                    "expires_at",
                    models.DateTimeField(null=True, verbose_name="expires at"),
                ),
                (
                    "store_result",
                    models.BooleanField(db_default=True, verbose_name="result kept"),
                ),
                ("retention", models.DurationField(null=True, verbose_name="kept for")),
                (
                    "verbose_name",
                    models.CharField(
                        db_default="", max_length=255, verbose_name="name"
                    ),
                ),
                (
                    "creator",
                    models.CharField(max_length=255, null=True, verbose_name="creator"),
                ),
                ("parent", models.UUIDField(null=True, verbose_name="parent")),
                (
                    "tags",
                    django_bgtasks.models.fields.TagsField(
                        db_default="", max_length=255, verbose_name="tags"
                    ),
                ),
                ("metadata", models.JSONField(null=True, verbose_name="metadata")),
                ("progress", models.JSONField(null=True, verbose_name="progress")),
                ("result", models.JSONField(null=True, verbose_name="result")),
            ],
            options={
                "verbose_name": "job",
                "verbose_name_plural": "jobs",
                "permissions": [
                    ("retry_job", "Can retry job"),
                    ("cancel_job", "Can cancel job"),
                    ("view_job_arguments", "Can view arguments and results of job"),
                ],
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "READY")),
                        fields=["queue", "-priority", "id"],
                        name="bgtasks_job_claim",
                    ),
                    models.Index(
                        condition=models.Q(("status", "SCHEDULED")),
                        fields=["run_after"],
                        name="bgtasks_job_due",
                    ),
                    models.Index(
                        condition=models.Q(("worker__isnull", False)),
                        fields=["worker", "id"],
                        name="bgtasks_job_running",
                    ),
                    models.Index(
                        condition=models.Q(("finished_at__isnull", False)),
                        fields=["status", "finished_at"],
                        name="bgtasks_job_finished",
                    ),
                    models.Index(
                        condition=models.Q(("schedule__isnull", False)),
                        fields=["schedule", "id"],
                        name="bgtasks_job_schedule",
                    ),
                    models.Index(
                        condition=models.Q(
                            ("expires_at__isnull", False), ("finished_at__isnull", True)
                        ),
                        fields=["expires_at"],
                        name="bgtasks_job_expires",
                    ),
                    models.Index(
                        condition=models.Q(
                            ("finished_at__isnull", False), ("retention__isnull", False)
                        ),
                        fields=["retention", "finished_at"],
                        name="bgtasks_job_kept",
                    ),
                    models.Index(
                        condition=models.Q(("creator__isnull", False)),
                        fields=["creator", "id"],
                        name="bgtasks_job_creator",
                    ),
                    models.Index(
                        condition=models.Q(("parent__isnull", False)),
                        fields=["parent", "id"],
                        name="bgtasks_job_parent",
                    ),
                ],
            },
        ),
        # By itself: as part of CreateModel, Django trips over it where there are no such
        # constraints.
        migrations.AddConstraint(
            model_name="job",
            constraint=models.UniqueConstraint(
                condition=models.Q(("unique_key__isnull", False)),
                fields=("unique_key",),
                name="bgtasks_job_unique",
            ),
        ),
        migrations.CreateModel(
            name="Dashboard",
            fields=[],
            options={
                "verbose_name": "dashboard",
                "verbose_name_plural": "dashboard",
                "proxy": True,
                "default_permissions": (),
                "indexes": [],
                "constraints": [],
            },
            bases=("django_bgtasks.job",),
        ),
        migrations.CreateModel(
            name="Schedule",
            fields=[
                (
                    "name",
                    models.CharField(
                        max_length=255,
                        primary_key=True,
                        serialize=False,
                        verbose_name="name",
                    ),
                ),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("settings", "settings"),
                            ("code", "code"),
                            ("admin", "admin"),
                        ],
                        default="admin",
                        editable=False,
                        max_length=8,
                        verbose_name="owned by",
                    ),
                ),
                ("task", models.CharField(max_length=255, verbose_name="task")),
                (
                    "args",
                    models.JSONField(
                        blank=True, default=list, verbose_name="arguments"
                    ),
                ),
                (
                    "kwargs",
                    models.JSONField(
                        blank=True, default=dict, verbose_name="keyword arguments"
                    ),
                ),
                (
                    "cron",
                    models.CharField(
                        blank=True, max_length=255, verbose_name="cron expression"
                    ),
                ),
                (
                    "every",
                    models.DurationField(blank=True, null=True, verbose_name="every"),
                ),
                (
                    "phase",
                    models.DurationField(
                        blank=True, default=datetime.timedelta, verbose_name="phase"
                    ),
                ),
                (
                    "at",
                    models.DateTimeField(
                        blank=True, null=True, verbose_name="once, at"
                    ),
                ),
                (
                    "timezone",
                    models.CharField(
                        blank=True, max_length=64, verbose_name="time zone"
                    ),
                ),
                (
                    "start",
                    models.DateTimeField(
                        blank=True, null=True, verbose_name="not before"
                    ),
                ),
                (
                    "end",
                    models.DateTimeField(
                        blank=True, null=True, verbose_name="not after"
                    ),
                ),
                (
                    "queue_name",
                    models.CharField(blank=True, max_length=100, verbose_name="queue"),
                ),
                (
                    "priority",
                    models.SmallIntegerField(
                        blank=True, null=True, verbose_name="priority"
                    ),
                ),
                (
                    "jitter",
                    models.DurationField(
                        blank=True, default=datetime.timedelta, verbose_name="jitter"
                    ),
                ),
                (
                    "missed",
                    models.CharField(
                        choices=[
                            ("latest", "the latest"),
                            ("skip", "none"),
                            ("all", "all"),
                        ],
                        default="latest",
                        max_length=6,
                        verbose_name="make up for missed",
                    ),
                ),
                (
                    "overlap",
                    models.CharField(
                        choices=[("allow", "allow"), ("skip", "skip")],
                        default="allow",
                        max_length=5,
                        verbose_name="overlap",
                    ),
                ),
                (
                    "paused_at",
                    models.DateTimeField(
                        editable=False, null=True, verbose_name="paused at"
                    ),
                ),
                (
                    "problem",
                    models.TextField(
                        default="", editable=False, verbose_name="problem"
                    ),
                ),
                (
                    "next_due",
                    models.DateTimeField(
                        default=django.utils.timezone.now,
                        editable=False,
                        null=True,
                        verbose_name="next run",
                    ),
                ),
                (
                    "last_due",
                    models.DateTimeField(
                        editable=False, null=True, verbose_name="last run"
                    ),
                ),
                (
                    "last_job",
                    models.UUIDField(
                        editable=False, null=True, verbose_name="last job"
                    ),
                ),
                ("planned_by", models.TextField(default="", editable=False)),
            ],
            options={
                "verbose_name": "schedule",
                "verbose_name_plural": "schedules",
                "ordering": ["name"],
                "indexes": [
                    models.Index(
                        condition=models.Q(
                            ("paused_at__isnull", True), ("problem", "")
                        ),
                        fields=["next_due"],
                        name="bgtasks_schedule_due",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Tally",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=django_bgtasks.models.job.new_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("queue", models.CharField(max_length=100, verbose_name="queue")),
                ("minute", models.DateTimeField(verbose_name="minute")),
                (
                    "span",
                    models.PositiveSmallIntegerField(default=1, verbose_name="minutes"),
                ),
                (
                    "successful",
                    models.PositiveIntegerField(default=0, verbose_name="successful"),
                ),
                (
                    "failed",
                    models.PositiveIntegerField(default=0, verbose_name="failed"),
                ),
                (
                    "cancelled",
                    models.PositiveIntegerField(default=0, verbose_name="cancelled"),
                ),
                (
                    "retried",
                    models.PositiveIntegerField(default=0, verbose_name="tried again"),
                ),
                (
                    "wait_seconds",
                    models.FloatField(default=0.0, verbose_name="seconds waited"),
                ),
                (
                    "run_seconds",
                    models.FloatField(default=0.0, verbose_name="seconds run"),
                ),
                ("waits", models.JSONField(default=dict, verbose_name="waits")),
                ("runs", models.JSONField(default=dict, verbose_name="runs")),
                (
                    "waiting",
                    models.PositiveIntegerField(null=True, verbose_name="waiting"),
                ),
            ],
            options={
                "verbose_name": "tally",
                "verbose_name_plural": "tallies",
                "indexes": [
                    models.Index(fields=["minute"], name="bgtasks_tally_minute")
                ],
            },
        ),
        migrations.CreateModel(
            name="Attempt",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("number", models.PositiveIntegerField(verbose_name="attempt")),
                (
                    "ending",
                    models.CharField(
                        choices=[
                            ("FAILED", "Failed"),
                            ("TIMED_OUT", "Timed out"),
                            ("LOST", "Lost"),
                            ("CANCELLED", "Cancelled"),
                        ],
                        max_length=16,
                        verbose_name="ending",
                    ),
                ),
                ("worker", models.UUIDField(verbose_name="worker")),
                ("started_at", models.DateTimeField(verbose_name="started at")),
                ("finished_at", models.DateTimeField(verbose_name="finished at")),
                (
                    "exception_class_path",
                    models.CharField(max_length=255, verbose_name="exception"),
                ),
                ("error", models.CharField(max_length=600, verbose_name="error")),
                ("traceback", models.TextField(verbose_name="traceback")),
                (
                    "job",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="attempts",
                        to="django_bgtasks.job",
                    ),
                ),
            ],
            options={
                "verbose_name": "attempt",
                "verbose_name_plural": "attempts",
                "ordering": ["id"],
                "indexes": [
                    models.Index(fields=["job", "id"], name="bgtasks_attempt_job"),
                    models.Index(
                        fields=["exception_class_path", "id"],
                        name="bgtasks_attempt_exception",
                    ),
                ],
            },
        ),
    ]
