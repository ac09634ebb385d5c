import pytest
from django.core import checks
from django.db import connection

from django_bgtasks.tasks import background, registered_tasks
from tests.sample import tasks as sample

pytestmark = [pytest.mark.once, pytest.mark.django_db]


def ours(**options):
    return {m.id: m for m in checks.run_checks(**options) if "bgtasks" in m.id}


def test_a_reserved_parameter_is_told():
    warning = ours()["django_bgtasks.W001"]
    assert warning.obj == sample.takes_priority.path
    assert "parameter named 'priority'" in warning.msg
    assert "takes_priority.enqueue(...)" in warning.hint


def test_nothing_else_is_told_at_start():
    assert set(ours()) == {"django_bgtasks.W001"}


def test_deferred_transactions_are_told_before_a_deploy(monkeypatch):
    if connection.vendor != "sqlite":
        pytest.skip("of no concern elsewhere")
    assert "django_bgtasks.W002" in ours(include_deployment_checks=True)
    monkeypatch.setitem(
        connection.settings_dict, "OPTIONS", {"transaction_mode": "IMMEDIATE"}
    )
    assert "django_bgtasks.W002" not in ours(include_deployment_checks=True)


def test_tasks_modules_were_discovered():
    assert sample.add in registered_tasks()
    assert background is not None
