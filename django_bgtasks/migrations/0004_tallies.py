from django.db import migrations, models

import django_bgtasks.models.job


class Migration(migrations.Migration):
    dependencies = [
        ("django_bgtasks", "0003_schedules"),
    ]

    operations = [
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
            ],
            options={
                "verbose_name": "tally",
                "verbose_name_plural": "tallies",
                "indexes": [
                    models.Index(fields=["minute"], name="bgtasks_tally_minute")
                ],
            },
        ),
    ]
