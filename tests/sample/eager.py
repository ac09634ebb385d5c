"""An app that uses the database when it is loaded, as none should and some do."""

import logging
import sys

from django.apps import AppConfig
from django.db import connection


class EagerConfig(AppConfig):
    name = "tests.sample.eager"

    def ready(self):
        if "run_tasks" in sys.argv:
            connection.ensure_connection()
            assert connection.pool.get_stats()
            logging.getLogger("django_bgtasks").warning("a pool is open")
