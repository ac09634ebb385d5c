import os

from django.apps import AppConfig

from django_bgtasks.signals import job_started
from tests.chaos.app import audit


class ChaosConfig(AppConfig):
    name = "tests.chaos.app"
    label = "chaos"

    def ready(self):
        # Only in workers of the chaos suite: a worker spares itself signals that
        # nobody listens to, and other tests want to see it do so.
        if audit.VARIABLE in os.environ:
            job_started.connect(audit.remember)
