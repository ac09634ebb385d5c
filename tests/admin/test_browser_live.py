"""The admin's pages in a real browser while a real worker runs jobs."""

from contextlib import suppress

from django_bgtasks.models import Job
from tests.admin.pages import changelist, page
from tests.browsing import (
    click,
    complaints,
    in_browser,
    press,
    until,
    until_said,
    until_text,
)
from tests.factories import make_job
from tests.sample import tasks as sample

# Without it, nothing here runs.
with suppress(ModuleNotFoundError):
    from selenium.webdriver.common.by import By

pytestmark = in_browser

HIDE = """
    Object.defineProperty(document, "hidden", { value: arguments[0], configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
"""


def row_of(result):
    return Job.objects.get(pk=result.id)


def count_looks(browser):
    """From now on, count how often the page is asked for."""
    browser.execute_script(
        """
        window.looks = 0;
        const ask = window.fetch;
        window.fetch = (...rest) => (window.looks++, ask(...rest));
        """
    )


def test_the_dashboard_follows_a_worker(admin, browser, at_work):
    admin(changelist("dashboard"))
    until_text(browser, "#bgtasks-welcome", "Nothing has run here yet")
    sample.wait_at_gate()
    until_text(browser, "#bgtasks-tile-waiting", "1")
    until_text(browser, "#bgtasks-health", "no live worker works on it")

    worker = at_work()
    until_text(browser, "#bgtasks-tile-workers", "1")
    until_text(browser, "#bgtasks-tile-running", "1", "on 4 threads")
    until_text(browser, "#bgtasks-workers", "Live", "1 of 4", sample.wait_at_gate.path)
    until_text(browser, "#bgtasks-health", "All is well")

    sample.gate.set()
    until_text(browser, "#bgtasks-tile-running", "0")
    # What workers count gets into rows now and then, and when they stop.
    worker.stop()
    until_text(browser, "#bgtasks-tile-finished", "1")
    until_text(browser, "#bgtasks-workers", "No worker is running")
    assert complaints(browser) == []


def test_a_running_job_is_stopped_and_seen_to_end(admin, browser, at_work):
    result = sample.stop_when_cancelled()
    admin(page(row_of(result)))
    until_text(browser, "#bgtasks-status", "Ready")
    at_work()
    until_text(browser, "#bgtasks-status", "Running")
    press(browser, "Stop")
    until_said(browser, "1 running job was asked to stop.")
    until_text(browser, "#bgtasks-status", "Cancelled")
    until_text(browser, "#bgtasks-timeline", "Finished", "Cancelled")
    assert row_of(result).status == Job.Status.CANCELLED
    until(browser, lambda p: not p.find_elements(By.XPATH, "//button[.='Stop']"))
    assert complaints(browser) == []


def test_nothing_starts_on_a_queue_while_it_is_paused(admin, browser, at_work):
    at_work()
    assert sample.add(1).get(timeout=30) == 1
    admin(changelist("queue"))
    row = "//tr[th[contains(., 'default')]]"
    click(browser, f"{row}//button[.='Pause']")
    until_said(browser, "Queue default was paused.")

    held = sample.add(2)
    # The worker is there, and takes what is on any other queue.
    other = sample.add.using(queue_name="mail").enqueue(3)
    assert other.get(timeout=30) == 3
    until_text(browser, "#bgtasks-queues", "Paused", "mail")
    assert row_of(held).status == Job.Status.READY
    admin(page(row_of(held)))
    until_text(browser, "#bgtasks-state", "paused")

    admin(changelist("queue"))
    click(browser, f"{row}//button[.='Resume']")
    until_said(browser, "Queue default was resumed.")
    assert held.get(timeout=30) == 2
    admin(page(row_of(held)))
    until_text(browser, "#bgtasks-status", "Successful")
    assert complaints(browser) == []


def test_nothing_is_asked_while_the_tab_is_hidden(admin, browser):
    admin(changelist("dashboard"))
    until_text(browser, "#bgtasks-tile-waiting", "0")
    count_looks(browser)
    browser.execute_script(HIDE, True)
    # Whatever was on its way is here, and nothing follows it.
    waits = browser.execute_script(
        """
        const waits = [];
        const wait = window.setTimeout;
        window.setTimeout = (...rest) => (waits.push(rest[1]), wait(...rest));
        document.dispatchEvent(new Event("visibilitychange"));
        return waits;
        """
    )
    assert waits == []
    make_job(queue="news")
    browser.execute_script(HIDE, False)
    until_text(browser, "#bgtasks-queues", "news")
    assert browser.execute_script("return window.looks") >= 1


def test_old_figures_are_called_old(admin, browser, site):
    admin(changelist("dashboard"))
    until_text(browser, "#bgtasks-as-of", "Live")
    browser.execute_script(
        """
        window.ask = window.fetch;
        window.fetch = () => Promise.reject(new TypeError("no network"));
        """
    )
    until_text(browser, "#bgtasks-as-of", "Not updated since")
    browser.execute_script("window.fetch = window.ask")
    until_text(browser, "#bgtasks-as-of", "Live")
    # Who logs out in another tab is sent to a page that has none of these figures.
    browser.delete_all_cookies()
    until_text(browser, "#bgtasks-as-of", "Not updated since")
    assert "/login/" not in browser.current_url


def test_who_is_at_a_control_stays_there(admin, browser):
    make_job(queue="a")
    admin(changelist("queue"))
    script = "document.getElementById(arguments[0]).focus()"
    browser.execute_script(script, "bgtasks-pause-1")
    make_job(queue="a")
    until_text(browser, "#bgtasks-queues td.field-waiting", "2")
    focused = "return document.activeElement.id"
    assert browser.execute_script(focused) == "bgtasks-pause-1"
    # A link has no id, and another row may come before it.
    link = "#bgtasks-queues th a[href*='queue/a/']"
    browser.execute_script(f"document.querySelector(`{link}`).focus()")
    make_job(queue="A")
    until_text(browser, "#bgtasks-queues th a", "A")
    assert browser.execute_script("return document.activeElement.innerText") == "a"
    # Nor is a choice taken back that somebody is about to make.
    browser.execute_script(script, "bgtasks-span-1")
    count_looks(browser)
    Job.objects.all().delete()
    until(browser, lambda p: p.execute_script("return window.looks") > 1)
    assert browser.execute_script(focused) == "bgtasks-span-1"
