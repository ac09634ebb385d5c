"""What axe finds on the pages, in light, in dark and on a phone: nothing serious."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from django_bgtasks.models import Queue, Schedule
from django_bgtasks.store import schedules
from tests.admin.pages import changelist, failed_attempt, job_that_is, page
from tests.browsing import complaints, in_browser, until_shown
from tests.factories import living_worker

AXE = Path(__file__).parents[2] / ".venv/node_modules/axe-core/axe.min.js"
REQUIRED = os.environ.get("REQUIRE_AXE", "") not in {"", "0"}

pytestmark = [
    pytest.mark.once,
    pytest.mark.slow,
    *in_browser,
    pytest.mark.skipif(
        not REQUIRED and not AXE.exists(), reason="needs axe-core, from npm"
    ),
]

RUN = """
    const done = arguments[0];
    axe.run({resultTypes: ["violations"]}).then((found) => done(found.violations));
"""
#: Width of the window, and what the reader prefers.
LOOKS = {"light": (1400, "light"), "dark": (1400, "dark"), "phone": (400, "light")}


@pytest.fixture(params=LOOKS)
def look(request, browser):
    width, scheme = LOOKS[request.param]
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    metrics = {"height": 1000, "deviceScaleFactor": 1, "mobile": width < 600}
    tell = browser.execute_cdp_cmd
    tell("Emulation.setEmulatedMedia", media)
    tell("Emulation.setDeviceMetricsOverride", {"width": width, **metrics})
    yield width
    tell("Emulation.clearDeviceMetricsOverride", {})
    tell("Emulation.setEmulatedMedia", {"features": []})


def lively():
    """Rows of every kind; returns the paths of the pages that show them."""
    now = timezone.now()
    worker = living_worker(hostname="box", queues=["mail"])
    living_worker(hostname="gone", heartbeat_at=now - timedelta(hours=1))
    Queue.objects.create(name="mail", paused_at=now)
    schedules.save(Schedule(name="mine", task="shop.renamed", cron="@daily"))
    progress = {"done": 1, "total": 3, "message": "so far"}
    job_that_is("RUNNING", worker=worker.pk, progress=progress)
    for status in ("READY", "SCHEDULED", "SUCCESSFUL", "CANCELLED"):
        job_that_is(status)
    failed = job_that_is("FAILED", tags=["a", "b"], verbose_name="a name")
    failed_attempt(failed)
    failed_attempt(failed, 2)
    return [
        changelist("dashboard"),
        changelist("dashboard") + "?window=7d",
        changelist(),
        changelist() + "?status=FAILED&task=there.is.none",
        page(failed),
        changelist("queue"),
        changelist("worker"),
        page(worker),
        changelist("schedule"),
        page(Schedule(name="mine")),
        changelist("schedule") + "add/",
    ]


def test_axe_finds_nothing_serious(admin, browser, look):
    found = []
    for path in lively():
        admin(path)
        until_shown(browser, "#content")
        browser.execute_script(AXE.read_text())
        found += [
            (path, one["id"], [node["html"][:200] for node in one["nodes"]])
            for one in browser.execute_async_script(RUN)
            if one["impact"] in ("serious", "critical")
        ]
        # Tables may be wider, and then move in a frame of their own.
        width = browser.execute_script("return document.documentElement.scrollWidth")
        if width > look:
            found.append((path, f"is {width} pixels wide"))
    assert found == []
    assert complaints(browser) == []
