import datetime

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("django_bgtasks", "0002_tune_databases"),
    ]

    operations = [
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
            },
        ),
        migrations.AddField(
            model_name="job",
            name="schedule",
            field=models.CharField(max_length=255, null=True, verbose_name="schedule"),
        ),
        migrations.AddField(
            model_name="job",
            name="scheduled_for",
            field=models.DateTimeField(null=True, verbose_name="scheduled for"),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(("schedule__isnull", False)),
                fields=["schedule", "id"],
                name="bgtasks_job_schedule",
            ),
        ),
        migrations.AddIndex(
            model_name="schedule",
            index=models.Index(
                condition=models.Q(("paused_at__isnull", True), ("problem", "")),
                fields=["next_due"],
                name="bgtasks_schedule_due",
            ),
        ),
    ]
