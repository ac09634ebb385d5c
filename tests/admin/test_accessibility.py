"""What axe finds on the pages, in light, in dark and on a phone: nothing serious."""

import os
from datetime import timedelta
from pathlib import Path

import django
import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from django_bgtasks.models import Queue, Schedule
from django_bgtasks.store import schedules
from tests.admin.pages import changelist, failed_attempt, job_that_is, page
from tests.browsing import complaints, in_browser, until_shown
from tests.factories import living_worker, make_job

AXE = Path(__file__).parents[2] / ".venv/node_modules/axe-core/axe.min.js"
REQUIRED = os.environ.get("REQUIRE_AXE", "") not in {"", "0"}

pytestmark = [
    *in_browser,
    pytest.mark.skipif(
        not REQUIRED and not AXE.exists(), reason="needs axe-core, from npm"
    ),
    pytest.mark.skipif(
        django.VERSION < (6, 1),
        reason="before, Django's own links could not be told from the text around them",
    ),
]

RUN = """
    const done = arguments[0];
    axe.run({resultTypes: ["violations"]}).then((found) => done(found.violations));
"""
TRACEBACK = """Traceback (most recent call last):
  File "/venv/lib/python3/site-packages/x.py", line 1, in get
    no()
  File "/srv/shop/tasks.py", line 2, in pay
    get()
ValueError: no
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
    running = job_that_is("RUNNING", worker=worker.pk, progress=progress)
    # Somebody whose row is gone.
    job_that_is("RUNNING")
    for status in ("READY", "SCHEDULED", "SUCCESSFUL", "CANCELLED"):
        job_that_is(status)
    failed = job_that_is("FAILED", tags=["a", "b"], verbose_name="a name", args=[1])
    for number in (1, 2):
        failed_attempt(failed, number, traceback=TRACEBACK)
    make_job(parent=failed.pk)
    return [
        changelist("dashboard"),
        changelist("dashboard") + "?window=7d",
        changelist(),
        changelist() + "?status=FAILED&task=there.is.none",
        page(failed),
        page(running),
        page(failed, "delete"),
        page(failed, "duplicate"),
        changelist("queue"),
        page(Queue(name="mail")),
        changelist("worker"),
        page(worker),
        reverse("admin:django_bgtasks_worker_clean_up"),
        changelist("schedule"),
        page(Schedule(name="mine")),
        changelist("schedule") + "add/",
    ]


def serious(browser, look, where):
    """What axe finds on the page that is open, and whether it is too wide."""
    until_shown(browser, "main, #content")
    browser.execute_script(AXE.read_text())
    found = [
        (where, one["id"], [node["html"][:200] for node in one["nodes"]])
        for one in browser.execute_async_script(RUN)
        if one["impact"] in ("serious", "critical")
    ]
    # Tables may be wider, and then move in a frame of their own.
    width = browser.execute_script("return document.documentElement.scrollWidth")
    if width > look:
        found.append((where, f"is {width} pixels wide"))
    return found


def test_axe_finds_nothing_serious(admin, browser, look):
    found = []
    for path in lively():
        admin(path)
        found += serious(browser, look, path)
    assert found == []
    assert complaints(browser) == []


@pytest.mark.parametrize("action", ["set_priority", "reschedule", "delete"])
def test_nor_on_the_page_of_an_action(admin, browser, look, action):
    for _ in range(3):
        job_that_is("READY")
    admin(changelist() + "?status=READY")
    # Clicked by the script, for on a phone the sheet of the filters may be in the way.
    browser.execute_script(
        """
        document.getElementById("action-toggle").click();
        document.querySelector("[name=action]").value = arguments[0];
        document.querySelector("[name=index]").click();
        """,
        f"{action}_selected",
    )
    until_shown(browser, ".bgtasks-action #content")
    assert serious(browser, look, action) == []
    assert complaints(browser) == []


def test_nor_on_the_dashboard_before_anything_has_run(admin, browser, look):
    admin(changelist("dashboard"))
    assert serious(browser, look, "dashboard") == []


def test_nor_about_a_block_on_a_page_of_the_site(browser, site, settings, look):
    settings.ROOT_URLCONF = "tests.views.site"
    User.objects.create_user("ann")
    progress = {"done": 1, "total": 3, "message": "so far"}
    jobs = [
        job_that_is("RUNNING", progress=progress),
        job_that_is("RUNNING"),
        job_that_is("SUCCESSFUL", result="done"),
        job_that_is("FAILED"),
    ]
    browser.get(f"{site}/log-in/?name=ann")
    browser.get(f"{site}/?" + "&".join(f"id={job.pk}" for job in jobs))
    assert len(browser.find_elements("css selector", ".bgtasks-status")) == len(jobs)
    assert serious(browser, look, "the site") == []
