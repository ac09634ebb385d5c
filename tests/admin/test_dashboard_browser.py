"""The dashboard in a real browser: charts, and figures that change by themselves."""

from datetime import timedelta

from django.utils import timezone

from django_bgtasks.models import Job, Schedule, Tally
from tests.admin.pages import changelist, failed_attempt, job_that_is
from tests.browsing import (
    click,
    complaints,
    in_browser,
    text_in,
    until,
    until_said,
    until_shown,
    until_text,
)
from tests.factories import living_worker, make_job, make_running

try:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
except ModuleNotFoundError:
    pass  # then nothing here runs

pytestmark = in_browser

MINUTE = timedelta(minutes=1)
PAGE = changelist("dashboard")


def tally(ago=2, **columns):
    minute = timezone.now().replace(second=0, microsecond=0) - ago * MINUTE
    columns = {"successful": 9, "waits": {"18": 9}, "runs": {"21": 9}, **columns}
    return Tally.objects.create(queue="mail", minute=minute, **columns)


def some_of_everything():
    tally(2)
    tally(3, failed=4)
    worker = living_worker(queues=["mail"])
    make_running(worker.pk, queue="mail")
    failed_attempt(job_that_is("FAILED", queue="mail"))
    for name, rule in {"often": "* * * * *", "seldom": "0 0 * * *"}.items():
        Schedule.objects.create(name=name, task="t", cron=rule)


def ink(browser, chart):
    """How many points of a chart are painted, and the sum of their colours."""
    return browser.execute_script(
        """
        const canvas = document.querySelector(`[data-chart="${arguments[0]}"] canvas`);
        const points = canvas.getContext("2d")
          .getImageData(0, 0, canvas.width, canvas.height).data;
        let painted = 0, colours = 0;
        for (let n = 0; n < points.length; n += 4)
          if (points[n + 3]) {
            painted++;
            colours += points[n] + points[n + 1] + points[n + 2];
          }
        return [painted, colours];
        """,
        chart,
    )


def point_at(browser, chart, right_of_its_middle):
    """Move the mouse to where ``right_of_its_middle(width)`` pixels lead."""

    def move(page):
        plot = page.find_element(By.CSS_SELECTOR, f'[data-chart="{chart}"] .u-over')
        right = right_of_its_middle(plot.size["width"])
        mouse = ActionChains(page)
        return mouse.move_to_element_with_offset(plot, right, 0).perform() is None

    until_shown(browser, f'[data-chart="{chart}"] .u-over')
    # It may be drawn anew meanwhile, until the mouse is there.
    until(browser, move)


def test_it_is_drawn_under_a_strict_policy(admin, browser):
    some_of_everything()
    admin(PAGE)
    until_shown(browser, '[data-chart="backlog"] canvas')
    for name in ("throughput", "latency", "backlog"):
        assert ink(browser, name)[0] > 500
        chart = browser.find_element(By.CSS_SELECTOR, f'[data-chart="{name}"]')
        assert chart.get_attribute("role") == "img"
    label = browser.find_element(By.CSS_SELECTOR, '[data-chart="throughput"]')
    assert "Successful: 18, failed: 4" in label.get_attribute("aria-label")
    assert complaints(browser) == []


def test_what_was_measured_once_is_a_point(admin, browser):
    tally(2)
    admin(PAGE)
    until_shown(browser, '[data-chart="backlog"] canvas')
    # The colour of --bgtasks-wait.
    blue = browser.execute_script(
        """
        const canvas = document.querySelector('[data-chart="latency"] canvas');
        const points = canvas.getContext("2d")
          .getImageData(0, 0, canvas.width, canvas.height).data;
        let found = 0;
        for (let n = 0; n < points.length; n += 4)
          if (points[n] === 0x2f && points[n + 1] === 0x7f && points[n + 2] === 0xb8) found++;
        return found;
        """
    )
    assert blue > 0


def test_the_running_minute_is_called_so(admin, browser):
    tally(0)
    tally(-1)  # if it is the next minute by then
    admin(PAGE)
    legend = '[data-chart="throughput"] .u-legend'
    # At its right end, where the last of 60 bars is.
    point_at(browser, "throughput", lambda width: width // 2 - 3)
    until_text(browser, legend, ", so far")
    until_text(browser, legend, "9")
    point_at(browser, "throughput", lambda width: 0)
    assert "so far" not in text_in(browser, legend)
    assert complaints(browser) == []


def test_it_is_drawn_anew_for_another_theme(admin, browser):
    some_of_everything()
    admin(PAGE)
    until_shown(browser, '[data-chart="throughput"] canvas')
    light = ink(browser, "throughput")
    browser.execute_script("document.documentElement.dataset.theme = 'dark'")
    until(browser, lambda _: ink(browser, "throughput") != light)
    assert complaints(browser) == []


def test_figures_and_charts_change_by_themselves(admin, browser):
    some_of_everything()
    admin(PAGE)
    until_text(browser, "#bgtasks-tile-waiting", "0")
    before = ink(browser, "throughput")
    make_job(queue="news")
    tally(4, successful=50)
    until_text(browser, "#bgtasks-queues", "news")
    until_text(browser, "#bgtasks-tile-waiting", "1")
    until(browser, lambda _: ink(browser, "throughput") != before)
    assert complaints(browser) == []


def test_charts_speak_the_language_of_the_page(admin, browser, settings):
    settings.LANGUAGE_CODE = "zh-hans"
    some_of_everything()
    admin(PAGE)
    for name, words in {"throughput": "成功", "latency": "中位数"}.items():
        until_text(browser, f'[data-chart="{name}"] .u-legend', words)
    chart = browser.find_element(By.CSS_SELECTOR, '[data-chart="backlog"]')
    assert "最多有" in chart.get_attribute("aria-label")
    assert complaints(browser) == []


def test_failures_are_retried_from_it(admin, browser):
    some_of_everything()
    admin(PAGE)
    click(browser, "//*[@id='bgtasks-failures']//button")
    until_said(browser, "1 job will be retried.")
    assert Job.objects.ready().count() == 1
    assert complaints(browser) == []


def test_windows_and_queues_are_chosen(admin, browser):
    some_of_everything()
    admin(PAGE)
    browser.find_element(By.LINK_TEXT, "7 days").click()
    until_text(browser, ".bgtasks-windows [aria-current]", "7 days")
    queue = browser.find_element(By.ID, "bgtasks-queue")
    queue.find_element(By.XPATH, "option[.='mail']").click()
    until_text(browser, "#bgtasks-charts-title", "Queue mail over time")
    assert "window=7d" in browser.current_url
    assert ink(browser, "throughput")[0] > 500


def test_it_fits_a_phone(admin, browser):
    some_of_everything()
    size = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        admin(PAGE)
        until_shown(browser, '[data-chart="backlog"] canvas')
        width = browser.execute_script("return document.documentElement.scrollWidth")
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert width == 400
