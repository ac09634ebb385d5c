"""The reference has every public name."""

from __future__ import annotations

import inspect
import re

import pytest
from django.dispatch import Signal

import django_bgtasks
from django_bgtasks import exceptions, middleware, outcomes, results, signals, testing
from tests.docs.pages import ROOT

pytestmark = pytest.mark.once

API = (ROOT / "docs/reference/api.md").read_text(encoding="utf-8")


def classes_of(module):
    return {
        name
        for name, value in inspect.getmembers(module, inspect.isclass)
        if value.__module__ == module.__name__ and not name.startswith("_")
    }


def signals_of(module):
    return {name for name, value in vars(module).items() if isinstance(value, Signal)}


PUBLIC = {
    "django_bgtasks": set(django_bgtasks.__all__),
    "testing": set(testing.__all__),
    "exceptions": classes_of(exceptions),
    "middleware": classes_of(middleware),
    # Recorded is Succeeded to all but the worker.
    "outcomes": classes_of(outcomes) - {"Recorded"},
    "results": classes_of(results),
    "signals": signals_of(signals),
}


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_there(module):
    names = PUBLIC[module]
    assert names
    assert sorted(names - {*re.findall(r"\w+", API)}) == []
