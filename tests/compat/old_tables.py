# ruff: noqa: DJ001, DJ008 (others have declared these)
"""The tables of other packages as their own migrations make them.

Mirrors django-celery-beat 2.9.0 and django-q2 1.11.1, without their foreign keys. They
are not installed for the tests: they would hold back the Django that is tested.
"""

from contextlib import contextmanager

from django.apps.registry import Apps
from django.db import connection, models

_apps = Apps()


class Crontab(models.Model):
    minute = models.CharField(max_length=240, default="*")
    hour = models.CharField(max_length=96, default="*")
    day_of_week = models.CharField(max_length=64, default="*")
    day_of_month = models.CharField(max_length=124, default="*")
    month_of_year = models.CharField(max_length=64, default="*")
    timezone = models.CharField(max_length=63, default="UTC")

    class Meta:
        apps = _apps
        app_label = "django_celery_beat"
        db_table = "django_celery_beat_crontabschedule"


class Interval(models.Model):
    every = models.IntegerField()
    period = models.CharField(max_length=24)

    class Meta:
        apps = _apps
        app_label = "django_celery_beat"
        db_table = "django_celery_beat_intervalschedule"


class Clocked(models.Model):
    clocked_time = models.DateTimeField()

    class Meta:
        apps = _apps
        app_label = "django_celery_beat"
        db_table = "django_celery_beat_clockedschedule"


class Solar(models.Model):
    event = models.CharField(max_length=24)
    latitude = models.DecimalField(max_digits=9, decimal_places=6)
    longitude = models.DecimalField(max_digits=9, decimal_places=6)

    class Meta:
        apps = _apps
        app_label = "django_celery_beat"
        db_table = "django_celery_beat_solarschedule"


class PeriodicTask(models.Model):
    name = models.CharField(max_length=200, unique=True)
    task = models.CharField(max_length=200, default="tests.sample.tasks.add")
    args = models.TextField(default="[1]")
    kwargs = models.TextField(default="{}")
    queue = models.CharField(max_length=200, null=True)
    exchange = models.CharField(max_length=200, null=True)
    routing_key = models.CharField(max_length=200, null=True)
    expires = models.DateTimeField(null=True)
    enabled = models.BooleanField(default=True)
    last_run_at = models.DateTimeField(null=True)
    total_run_count = models.PositiveIntegerField(default=0)
    date_changed = models.DateTimeField()
    description = models.TextField(default="")
    crontab_id = models.IntegerField(null=True)
    interval_id = models.IntegerField(null=True)
    solar_id = models.IntegerField(null=True)
    one_off = models.BooleanField(default=False)
    start_time = models.DateTimeField(null=True)
    priority = models.PositiveIntegerField(null=True)
    headers = models.TextField(default="{}")
    clocked_id = models.IntegerField(null=True)
    expire_seconds = models.PositiveIntegerField(null=True)

    class Meta:
        apps = _apps
        app_label = "django_celery_beat"
        db_table = "django_celery_beat_periodictask"


class QSchedule(models.Model):
    func = models.CharField(max_length=256, default="tests.sample.tasks.add")
    hook = models.CharField(max_length=256, null=True)
    args = models.TextField(null=True, default="1")
    kwargs = models.TextField(null=True)
    repeats = models.IntegerField(default=-1)
    next_run = models.DateTimeField(null=True)
    task = models.CharField(max_length=100, null=True)
    name = models.CharField(max_length=100, null=True)
    minutes = models.PositiveSmallIntegerField(null=True)
    cron = models.CharField(max_length=100, null=True)
    cluster = models.CharField(max_length=100, null=True)
    schedule_type = models.CharField(max_length=2, default="O")
    intended_date_kwarg = models.CharField(max_length=100, null=True)

    class Meta:
        apps = _apps
        app_label = "django_q"
        db_table = "django_q_schedule"


class OldPeriodicTask(models.Model):
    """As in django-celery-beat 1.0, before most of its columns."""

    name = models.CharField(max_length=200, unique=True)
    task = models.CharField(max_length=200)
    args = models.TextField(default="[]")
    kwargs = models.TextField(default="{}")
    enabled = models.BooleanField(default=True)
    interval_id = models.IntegerField(null=True)

    class Meta:
        apps = Apps()
        app_label = "django_celery_beat"
        db_table = "django_celery_beat_periodictask"


CELERY_BEAT = (Crontab, Interval, Clocked, Solar, PeriodicTask)
DJANGO_Q = (QSchedule,)


@contextmanager
def existing(*tables):
    """Tables exist meanwhile. Outside of a transaction, which MariaDB would end."""
    made = []
    try:
        with connection.schema_editor() as editor:
            for table in tables:
                editor.create_model(table)
                made.append(table)
        yield
    finally:
        with connection.schema_editor() as editor:
            for table in made:
                editor.delete_model(table)
