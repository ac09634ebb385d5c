"""The admin in a real browser: styles, buttons, and nothing to complain about."""

from django.urls import reverse

from django_bgtasks.models import Job, Queue, Schedule
from django_bgtasks.store import queues, schedules
from django_bgtasks.testing import run_jobs
from tests.admin.pages import changelist, failed_attempt, job_that_is, page
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
from tests.factories import living_worker, make_running

try:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.select import Select
except ModuleNotFoundError:
    pass  # then nothing here runs

pytestmark = in_browser


def schedule_page(name):
    return page(Schedule(name=name))


def test_a_failed_job_is_found_and_retried(admin, browser):
    job = job_that_is("FAILED")
    failed_attempt(job, error="ValueError: no", traceback="Traceback\n  line 7")
    admin(changelist())
    badge = browser.find_element(By.CSS_SELECTOR, ".bgtasks-failed")
    assert badge.text == "Failed"
    assert badge.value_of_css_property("color") == "rgba(255, 255, 255, 1)"

    browser.find_element(By.PARTIAL_LINK_TEXT, str(job.pk)[:13]).click()
    attempt = until_shown(browser, ".bgtasks-attempt")
    assert "ValueError: no" in attempt.text
    assert "Traceback\n  line 7" in attempt.text

    press(browser, "Retry")
    message = until_shown(browser, ".messagelist .success")
    assert message.text == "1 job will be retried."
    assert text_in(browser, ".bgtasks-ready") == "Ready"
    assert browser.find_element(By.XPATH, "//button[.='Cancel']")
    assert Job.objects.get().status == Job.Status.READY
    assert complaints(browser) == []


def test_on_a_laptop_the_beginning_of_an_error_is_in_sight(admin, browser):
    job = job_that_is("FAILED", task="webhooks.tasks.deliver_webhook")
    failed_attempt(job, error="ConnectionRefusedError: [Errno 111] Connection refused")
    admin(changelist())
    begins, ends = browser.execute_script("""
        const box = (place) => document.querySelector(place).getBoundingClientRect();
        return [box("td.field-last_error").left, box(".results").right];
    """)
    assert begins + 150 < ends


def test_selected_jobs_are_cancelled(admin, browser):
    for _ in range(2):
        job_that_is("READY")
    admin(changelist())
    browser.find_element(By.ID, "action-toggle").click()
    assert "2 of 2 selected" in until_shown(browser, ".action-counter").text
    actions = Select(browser.find_element(By.NAME, "action"))
    actions.select_by_visible_text("Cancel selected jobs")
    browser.find_element(By.NAME, "index").click()
    message = until_shown(browser, ".messagelist .success")
    assert message.text == "2 jobs were cancelled."
    assert {job.status for job in Job.objects.all()} == {Job.Status.CANCELLED}
    assert complaints(browser) == []


def test_all_that_match_are_left_to_a_job(admin, browser, monkeypatch):
    monkeypatch.setattr("django_bgtasks.admin.job_actions.ACTION_LIMIT", 10)
    for number in range(60):
        job_that_is("FAILED", tags=["late"] if number % 20 else [])
    admin(changelist() + "?status=FAILED")
    browser.find_element(By.CSS_SELECTOR, ".bgtasks-more summary").click()
    type_into(browser, "tag", "late").submit()
    chips = until_shown(browser, ".bgtasks-chips")
    assert "Failed" in chips.text
    assert "late" in chips.text
    browser.find_element(By.CSS_SELECTOR, "a[rel=next]").click()
    assert until_shown(browser, "a[rel=prev]")
    assert len(browser.find_elements(By.CSS_SELECTOR, "#result_list tbody tr")) == 7

    browser.find_element(By.ID, "action-toggle").click()
    browser.find_element(By.PARTIAL_LINK_TEXT, "Select all that match").click()
    actions = Select(browser.find_element(By.NAME, "action"))
    actions.select_by_visible_text("Delete selected jobs")
    browser.find_element(By.NAME, "index").click()
    question = until_shown(browser, ".bgtasks-action #content")
    assert "A job of its own will do it" in question.text
    assert "Tag: late" in question.text
    browser.find_element(By.CSS_SELECTOR, "[type=submit].default").click()
    until_said(browser, "A job of its own does it.")
    assert complaints(browser) == []
    run_jobs()
    assert {job.tags for job in Job.objects.failed()} == {()}
    browser.refresh()
    until_text(browser, ".bgtasks-successful", "Successful")


def test_next_runs_are_shown_as_a_rule_is_typed(admin, browser):
    admin(changelist("schedule") + "add/")
    summary = until_shown(browser, ".bgtasks-summary")
    until_says(browser, summary, "Say when")
    type_into(browser, "name", "nightly")
    Select(browser.find_element(By.NAME, "task")).select_by_value("shop.renamed")
    type_into(browser, "cron", "30 2 * * *")
    until_says(browser, summary, "by the clocks of Europe/Berlin")
    # On the second of these days, clocks go forward from 2:00 to 3:00.
    type_into(browser, "start_0", "2089-03-26")
    type_into(browser, "start_1", "00:00")
    until_says(browser, summary, "Next run: Sat 2089-03-26 02:30:00 UTC+01:00")
    runs = browser.find_elements(By.CSS_SELECTOR, ".bgtasks-upcoming li")
    assert len(runs) == 10
    assert runs[1].text == (
        "Sun 2089-03-27 03:00:00 UTC+02:00 "
        "clocks go forward 1 h before this run "
        "moved, for on this day there is no such time"
    )
    assert summary.get_attribute("role") == "status"

    cron = type_into(browser, "cron", "30 2 * *")
    until_says(browser, summary, "it must have 5 fields")
    assert browser.find_elements(By.CSS_SELECTOR, ".bgtasks-upcoming li") == []
    assert cron.get_attribute("aria-invalid") == "true"
    type_into(browser, "cron", "@daily")
    until_says(browser, summary, "Next run: Sat 2089-03-26 00:00:00 UTC+01:00")
    assert cron.get_attribute("aria-invalid") == "false"

    browser.find_element(By.NAME, "_save").click()
    until_shown(browser, ".messagelist .success")
    assert Schedule.objects.get().rule.cron == "@daily"
    assert complaints(browser) == []


def test_a_time_that_is_picked_counts_as_typed(admin, browser):
    admin(changelist("schedule") + "add/")
    summary = until_shown(browser, ".bgtasks-summary")
    until_says(browser, summary, "Say when")
    # Django's calendar fills the date in and tells nobody.
    until_shown(browser, ".field-at .datetimeshortcuts a").click()
    until_says(browser, summary, "Enter a valid time")


def test_a_schedule_is_paused_and_resumed(admin, browser):
    schedules.save(Schedule(name="a b", task="shop.renamed", cron="@daily"))
    admin(schedule_page("a b"))
    for button, message, state in (
        ("Pause", "1 schedule was paused.", "paused"),
        ("Resume", "1 schedule was resumed.", "active"),
        ("Run now", "1 job was enqueued.", "active"),
    ):
        press(browser, button)
        until_said(browser, message)
        assert browser.find_element(By.CSS_SELECTOR, f".bgtasks-{state}")
    browser.find_element(By.LINK_TEXT, "JOBS").click()
    until_text(browser, ".bgtasks-ready", "Ready")
    assert complaints(browser) == []


def test_a_queue_is_paused_for_a_while_and_resumed(admin, browser):
    job_that_is("READY", queue="mail")
    admin(changelist("queue"))
    row = "//tr[th[contains(., 'mail')]]"

    def choose(page):
        lengths = Select(page.find_element(By.XPATH, f"{row}//select"))
        return lengths.select_by_visible_text("for 1 hour") is None

    until(browser, choose)
    click(browser, f"{row}//button[.='Pause']")
    until_said(browser, "Queue mail was paused until ")
    until(browser, lambda p: "until" in p.find_element(By.XPATH, f"{row}/td[1]").text)
    assert Queue.objects.get().resume_at is not None
    click(browser, f"{row}//button[.='Resume']")
    until_said(browser, "Queue mail was resumed.")
    # What somebody else does is seen without a reload.
    queues.pause("mail")
    until_shown(browser, "#bgtasks-queues .bgtasks-paused")
    click(browser, f"{row}//a[.='Clear…']")
    until_shown(browser, "#bgtasks-clear")
    browser.find_element(By.XPATH, "//button[.='Yes, cancel them']").click()
    until_said(browser, "1 job was cancelled.")
    assert complaints(browser) == []


def test_no_page_breaks_a_strict_policy(admin, browser):
    job = job_that_is("FAILED", progress={"done": 1, "total": 3, "message": ""})
    failed_attempt(job)
    schedules.save(Schedule(name="mine", task="shop.renamed", cron="@daily"))
    theirs = Schedule(name="theirs", task="gone", cron="@daily", problem="It is gone.")
    Schedule.objects.bulk_create([theirs])
    Schedule.objects.filter(pk="theirs").update(source="code")
    worker = living_worker()
    running = make_running()
    paths = (
        changelist(),
        changelist("queue"),
        page(Queue(name=running.queue)),
        page(worker),
        reverse("admin:django_bgtasks_worker_clean_up"),
        page(job),
        page(job, "delete"),
        changelist("worker"),
        changelist("schedule"),
        schedule_page("mine"),
        schedule_page("theirs"),
    )
    for path in paths:
        admin(path)
        until_shown(browser, "#content")
    assert complaints(browser) == []
    # It is in force.
    browser.execute_script(
        "document.body.setAttribute('style', 'color: red');"
        "document.body.innerHTML += '<b style=\"color: red\">x</b>';"
    )
    assert "Content Security Policy" in complaints(browser)[0]["message"]
