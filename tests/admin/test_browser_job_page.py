"""The page of a job in a real browser: kept fresh, without taking anything away."""

from contextlib import suppress

import pytest
from django.utils import timezone

from django_bgtasks.models import Job
from tests.admin.pages import failed_attempt, job_that_is, page
from tests.browsing import (
    click,
    complaints,
    in_browser,
    press,
    text_in,
    type_into,
    until,
    until_said,
    until_says,
    until_shown,
    until_text,
)
from tests.factories import make_job

# Without it, nothing here runs.
with suppress(ModuleNotFoundError):
    from selenium.webdriver.common.by import By

pytestmark = in_browser

LIBRARY = '  File "/venv/site-packages/x.py", line 1, in get\n    no()\n'
UNFOLDED = ".bgtasks-frames[open]"


def progress(done, message=""):
    return {"done": done, "total": 4, "message": message}


def part(browser, name):
    return text_in(browser, f"#bgtasks-{name}")


def test_a_job_is_followed_until_it_is_finished(admin, browser):
    row = job_that_is("RUNNING", progress=progress(1, "first"))
    failed_attempt(row, traceback=f"Traceback:\n{LIBRARY}No\n")
    admin(page(row))
    assert "1 of 4 first" in part(browser, "state")
    click(browser, "//*[contains(@class, 'bgtasks-frames')]/summary")
    assert "/venv/site-packages/x.py" in text_in(browser, UNFOLDED)
    browser.execute_script("document.querySelector('[role=status]').isTheSame = true")

    failed_attempt(row, 2)
    Job.objects.update(progress=progress(3, "third"))
    until_text(browser, "#bgtasks-state", "3 of 4 third")
    assert "75 %" in part(browser, "state")
    assert "Attempt 2" in part(browser, "attempts-part")
    # What was unfolded stays so.
    assert "/venv/site-packages/x.py" in text_in(browser, UNFOLDED)

    Job.objects.update(
        status="SUCCESSFUL", finished_at=timezone.now(), worker=None, result="done!"
    )
    until_says(browser, browser.find_element(By.CSS_SELECTOR, "[role=status]"), "Succe")
    live = (By.CSS_SELECTOR, "[data-bgtasks-live]")
    until(browser, lambda page: not page.find_elements(*live))
    assert '"done!"' in part(browser, "fields-2")
    assert "Finished Successful" in part(browser, "timeline").replace("\n", " ")
    assert browser.find_elements(By.XPATH, "//button[.='Stop']") == []
    # A screen reader speaks of what changes in an element, not of a new one.
    assert browser.execute_script(
        "return document.querySelector('[role=status]').isTheSame"
    )
    assert complaints(browser) == []


def test_what_is_unfolded_is_no_news(admin, browser):
    row = job_that_is("RUNNING", progress=progress(1))
    failed_attempt(row, traceback=LIBRARY)
    admin(page(row))
    click(browser, "//*[contains(@class, 'bgtasks-frames')]/summary")
    mine = "document.getElementById('bgtasks-attempts-part').isMine"
    browser.execute_script(f"{mine} = true")
    Job.objects.update(progress=progress(2))
    until_text(browser, "#bgtasks-state", "2 of 4")
    assert browser.execute_script(f"return {mine}")


def test_a_running_job_is_stopped(admin, browser):
    row = job_that_is("RUNNING")
    admin(page(row))
    press(browser, "Stop")
    until_said(browser, "1 running job was asked to stop.")
    assert "asked to stop" in part(browser, "status")
    assert "boss" in part(browser, "log-part")
    assert Job.objects.get().cancel_requested_by == "boss"
    assert complaints(browser) == []


def test_a_job_is_duplicated_with_changes(admin, browser):
    row = make_job(args=[1, 2])
    admin(page(row))
    browser.find_element(By.LINK_TEXT, "DUPLICATE").click()
    until_shown(browser, "[name=args]")
    type_into(browser, "args", "[1")
    browser.find_element(By.CSS_SELECTOR, "[type=submit].default").click()
    until_shown(browser, ".errorlist")
    type_into(browser, "args", "[3, 4]")
    browser.find_element(By.CSS_SELECTOR, "[type=submit].default").click()
    until_said(browser, "The job was enqueued.")
    made = Job.objects.exclude(pk=row.pk).get()
    assert made.args == [3, 4]
    assert str(made.pk) in browser.current_url
    assert complaints(browser) == []


@pytest.mark.parametrize("status", ["RUNNING", "FAILED"])
def test_it_fits_on_a_phone(admin, browser, status):
    row = job_that_is(
        status, progress=progress(1, "x" * 200), args=["y" * 500], creator="z" * 200
    )
    failed_attempt(row, traceback=LIBRARY + "z" * 500, error="e" * 500)
    for number in range(3):
        make_job(parent=row.pk, task=f"shop.tasks.{'t' * 200}{number}")
    browser.set_window_size(400, 900)
    try:
        admin(page(row))
        width = browser.execute_script("return document.documentElement.scrollWidth")
        assert width <= browser.execute_script("return window.innerWidth")
    finally:
        browser.set_window_size(1400, 1000)
