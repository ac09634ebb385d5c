"""The admin's pages in a real browser while a real worker runs jobs."""

from contextlib import suppress

from django_bgtasks.models import Job
from tests.admin.pages import changelist, page
from tests.browsing import complaints, in_browser, press, until, until_said
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


def until_part(browser, selector, *texts):
    """Wait until that part of the page has these texts; it may be replaced meanwhile."""
    script = "return document.querySelector(arguments[0])?.innerText ?? ''"
    until(
        browser,
        lambda page: all(t in page.execute_script(script, selector) for t in texts),
    )


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
    until_part(browser, "#bgtasks-welcome", "Nothing has run here yet")
    sample.wait_at_gate()
    until_part(browser, "#bgtasks-tile-waiting", "1")
    until_part(browser, "#bgtasks-health", "no live worker works on it")

    worker = at_work()
    until_part(browser, "#bgtasks-tile-workers", "1")
    until_part(browser, "#bgtasks-tile-running", "1", "on 4 threads")
    until_part(browser, "#bgtasks-workers", "Live", "1 of 4", sample.wait_at_gate.path)
    until_part(browser, "#bgtasks-health", "All is well")

    sample.gate.set()
    until_part(browser, "#bgtasks-tile-running", "0")
    # What workers count gets into rows now and then, and when they stop.
    worker.stop()
    until_part(browser, "#bgtasks-tile-finished", "1")
    until_part(browser, "#bgtasks-workers", "No worker is running")
    assert complaints(browser) == []


def test_a_running_job_is_stopped_and_seen_to_end(admin, browser, at_work):
    result = sample.stop_when_cancelled()
    admin(page(row_of(result)))
    until_part(browser, "#bgtasks-status", "Ready")
    at_work()
    until_part(browser, "#bgtasks-status", "Running")
    press(browser, "Stop")
    until_said(browser, "1 running job was asked to stop.")
    until_part(browser, "#bgtasks-status", "Cancelled")
    until_part(browser, "#bgtasks-timeline", "Finished", "Cancelled")
    assert row_of(result).status == Job.Status.CANCELLED
    until(browser, lambda p: not p.find_elements(By.XPATH, "//button[.='Stop']"))
    assert complaints(browser) == []


def test_nothing_starts_on_a_queue_while_it_is_paused(admin, browser, at_work):
    at_work()
    assert sample.add(1).get(timeout=30) == 1
    admin(changelist("queue"))
    row = "//tr[th[contains(., 'default')]]"
    browser.find_element(By.XPATH, f"{row}//button[.='Pause']").click()
    until_said(browser, "Queue default was paused.")

    held = sample.add(2)
    # The worker is there, and takes what is on any other queue.
    other = sample.add.using(queue_name="mail").enqueue(3)
    assert other.get(timeout=30) == 3
    until_part(browser, "#bgtasks-queues", "Paused", "mail")
    assert row_of(held).status == Job.Status.READY
    admin(page(row_of(held)))
    until_part(browser, "#bgtasks-state", "paused")

    admin(changelist("queue"))
    browser.find_element(By.XPATH, f"{row}//button[.='Resume']").click()
    until_said(browser, "Queue default was resumed.")
    assert held.get(timeout=30) == 2
    admin(page(row_of(held)))
    until_part(browser, "#bgtasks-status", "Successful")
    assert complaints(browser) == []


def test_nothing_is_asked_while_the_tab_is_hidden(admin, browser):
    admin(changelist("dashboard"))
    until_part(browser, "#bgtasks-tile-waiting", "0")
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
    until_part(browser, "#bgtasks-queues", "news")
    assert browser.execute_script("return window.looks") >= 1


def test_old_figures_are_called_old(admin, browser, site):
    admin(changelist("dashboard"))
    until_part(browser, "#bgtasks-as-of", "Live")
    browser.execute_script(
        """
        window.ask = window.fetch;
        window.fetch = () => Promise.reject(new TypeError("no network"));
        """
    )
    until_part(browser, "#bgtasks-as-of", "Not updated since")
    browser.execute_script("window.fetch = window.ask")
    until_part(browser, "#bgtasks-as-of", "Live")
    # Who logs out in another tab is sent to a page that has none of these figures.
    browser.delete_all_cookies()
    until_part(browser, "#bgtasks-as-of", "Not updated since")
    assert "/login/" not in browser.current_url


def test_who_is_at_a_control_stays_there(admin, browser):
    make_job(queue="a")
    admin(changelist("queue"))
    script = "document.getElementById(arguments[0]).focus()"
    browser.execute_script(script, "bgtasks-pause-1")
    make_job(queue="a")
    until_part(browser, "#bgtasks-queues td.field-waiting", "2")
    focused = "return document.activeElement.id"
    assert browser.execute_script(focused) == "bgtasks-pause-1"
    # Nor is a choice taken back that somebody is about to make.
    browser.execute_script(script, "bgtasks-span-1")
    count_looks(browser)
    Job.objects.all().delete()
    until(browser, lambda p: p.execute_script("return window.looks") > 1)
    assert browser.execute_script(focused) == "bgtasks-span-1"
