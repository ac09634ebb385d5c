"""The page of a job in a real browser: kept fresh, without taking anything away."""

import pytest
from django.utils import timezone

from django_bgtasks.models import Job
from tests.admin.pages import failed_attempt, job_that_is, page
from tests.browsing import (
    complaints,
    in_browser,
    type_into,
    until_said,
    until_says,
    until_shown,
)
from tests.factories import make_job

try:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait
except ModuleNotFoundError:
    pass  # then nothing here runs

pytestmark = in_browser

LIBRARY = '  File "/venv/site-packages/x.py", line 1, in get\n    no()\n'


def progress(done, message=""):
    return {"done": done, "total": 4, "message": message}


def until_gone(browser, selector):
    WebDriverWait(browser, 20).until_not(
        lambda driver: driver.find_elements(By.CSS_SELECTOR, selector)
    )


def part(browser, name):
    return browser.find_element(By.ID, f"bgtasks-{name}")


def test_a_job_is_followed_until_it_is_finished(admin, browser):
    row = job_that_is("RUNNING", progress=progress(1, "first"))
    failed_attempt(row, traceback=f"Traceback:\n{LIBRARY}No\n")
    admin(page(row))
    assert "1 of 4 first" in part(browser, "state").text
    frames = browser.find_element(By.CSS_SELECTOR, ".bgtasks-frames")
    frames.find_element(By.TAG_NAME, "summary").click()
    assert "/venv/site-packages/x.py" in frames.text
    browser.execute_script("document.querySelector('[role=status]').isTheSame = true")

    failed_attempt(row, 2)
    Job.objects.update(progress=progress(3, "third"))
    WebDriverWait(browser, 20).until(
        lambda driver: "3 of 4 third" in part(driver, "state").text
    )
    assert "75 %" in part(browser, "state").text
    assert "Attempt 2" in part(browser, "attempts-part").text
    # What was unfolded stays so.
    (frames,) = browser.find_elements(By.CSS_SELECTOR, ".bgtasks-frames[open]")
    assert "/venv/site-packages/x.py" in frames.text

    Job.objects.update(
        status="SUCCESSFUL", finished_at=timezone.now(), worker=None, result="done!"
    )
    until_says(browser, browser.find_element(By.CSS_SELECTOR, "[role=status]"), "Succe")
    until_gone(browser, "[data-bgtasks-live]")
    assert '"done!"' in part(browser, "fields-2").text
    assert "Finished Successful" in part(browser, "timeline").text.replace("\n", " ")
    assert browser.find_elements(By.XPATH, "//button[.='Stop']") == []
    # A screen reader speaks of what changes in an element, not of a new one.
    assert browser.execute_script(
        "return document.querySelector('[role=status]').isTheSame"
    )
    assert complaints(browser) == []


def test_a_running_job_is_stopped(admin, browser):
    row = job_that_is("RUNNING")
    admin(page(row))
    browser.find_element(By.XPATH, "//button[.='Stop']").click()
    until_said(browser, "1 running job was asked to stop.")
    assert "asked to stop" in part(browser, "status").text
    assert "boss" in part(browser, "log-part").text
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
