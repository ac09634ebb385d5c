"""Blocks of ``{% job_status %}`` in a real browser, under a strict policy."""

import pytest
from django.contrib.auth.models import User

from django_bgtasks.models import Job
from tests.admin.pages import job_that_is
from tests.browsing import complaints, in_browser, until
from tests.sample import tasks as sample

pytestmark = in_browser

HEAR = """
    window.heard = [];
    document.addEventListener("bgtasks:finished", (event) => window.heard.push(event.detail));
"""


@pytest.fixture
def show(browser, site, settings):
    """Open the page of some jobs, as a user."""
    settings.ROOT_URLCONF = "tests.views.site"
    for name in ("ann", "bob"):
        User.objects.create_user(name)

    def show(*ids, name="ann", live="poll"):
        browser.get(f"{site}/log-in/?name={name}")
        query = "&".join(f"id={one}" for one in ids)
        browser.get(f"{site}/?live={live}&{query}")
        browser.execute_script(HEAR)
        return [Block(browser, one) for one in ids]

    return show


class Block:
    """The block of one job on the page that is open."""

    def __init__(self, browser, key):
        self._browser = browser
        self._selector = f'[data-bgtasks-job="{key}"]'

    def until(self, **expected):
        """Wait until what it shows is that."""

        def shows(driver):
            return {name: self.shown[name] for name in expected} == expected

        until(self._browser, shows, message=f"{expected}, {self.shown}")

    @property
    def shown(self):
        return self._browser.execute_script(
            """
            const block = document.querySelector(arguments[0]);
            const text = (name) => block.querySelector(`.bgtasks-status-${name}`)?.textContent;
            return {
              word: text("word"),
              message: text("message"),
              result: text("result"),
              done: block.querySelector("progress")?.getAttribute("value"),
              kind: block.className,
              live: "bgtasksPoll" in block.dataset,
            };
            """,
            self._selector,
        )


def heard(browser):
    return browser.execute_script("return window.heard")


@pytest.mark.parametrize("live", ["poll", "events"])
def test_a_bar_moves_and_ends(show, browser, at_work, live):
    job = sample.report_and_wait()
    (block,) = show(job.id, live=live)
    block.until(word="Ready", done="0", live=True)
    at_work()
    block.until(word="Running", done="50", message="<b>half</b>", live=True)
    assert heard(browser) == []
    sample.gate.set()
    block.until(word="Successful", done="100", message="all of it")
    block.until(result="<i>done</i>", live=False)
    assert block.shown["kind"] == "bgtasks-status bgtasks-status-successful"
    assert heard(browser) == [{"id": job.id, "status": "SUCCESSFUL"}]
    assert complaints(browser) == []


def test_each_block_follows_its_own_job(show, browser):
    first, second = job_that_is("READY"), job_that_is("RUNNING")
    blocks = show(first.pk, second.pk)
    Job.objects.filter(pk=second.pk).update(
        status="FAILED", finished_at=second.enqueued_at
    )
    blocks[1].until(word="Failed", live=False)
    blocks[0].until(word="Ready", live=True)
    assert heard(browser) == [{"id": str(second.pk), "status": "FAILED"}]


@pytest.mark.parametrize("live", ["poll", "events"])
def test_a_job_that_is_deleted_is_gone(show, browser, live):
    job = job_that_is("RUNNING")
    (block,) = show(job.pk, live=live)
    block.until(word="Running")
    Job.objects.all().delete()
    block.until(word="No longer on record", done=None, live=False)
    assert heard(browser) == [{"id": str(job.pk), "status": "GONE"}]


def test_a_page_is_of_no_use_to_the_next_user(show, site, browser):
    job = job_that_is("RUNNING")
    (block,) = show(job.pk)
    browser.execute_async_script(
        "fetch('/log-in/?name=bob').then(() => arguments[arguments.length - 1]())"
    )
    block.until(live=False)
    assert block.shown["word"] == "Running"
    assert heard(browser) == []


def test_a_block_that_comes_later_is_followed_too(show, browser):
    job = job_that_is("RUNNING")
    (block,) = show(job.pk)
    browser.execute_script(
        """
        const block = document.querySelector("[data-bgtasks-job]");
        const copy = block.cloneNode(true);
        block.remove();
        document.querySelector("main").append(copy);
        """
    )
    Job.objects.update(progress={"done": 1, "total": 5, "message": ""})
    block.until(done="20")


def test_nothing_is_asked_while_the_tab_is_hidden(show, browser):
    (block,) = show(job_that_is("RUNNING").pk)
    asked = browser.execute_script(
        """
        const asked = [];
        const wait = window.setTimeout;
        window.setTimeout = (...rest) => (asked.push(document.hidden), wait(...rest));
        for (const hidden of [true, false]) {
          Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }
        return asked;
        """
    )
    assert asked == [False]
    Job.objects.update(progress={"done": 1, "total": 5, "message": ""})
    block.until(done="20")


def test_a_server_that_is_away_is_asked_again(show, browser):
    (block,) = show(job_that_is("RUNNING").pk)
    browser.execute_script(
        """
        const ask = window.fetch;
        window.fetch = () => {
          window.fetch = ask;
          window.failed = true;
          return Promise.reject(new TypeError("no network"));
        };
        """
    )
    until(browser, lambda page: page.execute_script("return window.failed"))
    Job.objects.update(progress={"done": 1, "total": 5, "message": ""})
    block.until(done="20", live=True)
