"""A real browser, and a site for it to look at, whose policy is strict."""

import os
import shutil

import pytest
from django.contrib.auth.models import User
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.db import connections
from django.test import Client
from django.test.testcases import LiveServerThread

REQUIRED = os.environ.get("REQUIRE_BROWSER", "") not in {"", "0"}
CHROMIUM = shutil.which("chromium")
CHROMEDRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1000",
)

try:
    from selenium import webdriver
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait
except ModuleNotFoundError:
    webdriver = None

#: Marks of tests that need one. What a browser does of a page is the same on all
#: databases.
in_browser = [
    pytest.mark.once,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        not REQUIRED and not (webdriver and CHROMIUM and CHROMEDRIVER),
        reason="needs selenium, chromium and chromedriver",
    ),
]

#: A page that looks for news every few seconds does so ten times as often.
HURRY = """
    const wait = window.setTimeout;
    window.setTimeout = (what, pause, ...rest) => wait(what, pause / 10, ...rest);
"""


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(CHROMEDRIVER)
    browser = webdriver.Chrome(options=options, service=service)
    browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": HURRY})
    yield browser
    browser.quit()


def strict(get_response):
    """Middleware: nothing inline, nothing from elsewhere."""

    def middleware(request):
        response = get_response(request)
        response["Content-Security-Policy"] = "default-src 'self'"
        return response

    return middleware


@pytest.fixture
def site(transactional_db, settings, browser):
    """The address of a server that has the static files, as runserver has them.

    The browser comes without the last test's cookies and complaints, and leaves with the
    test: a page that stayed open would go on asking, as nobody.
    """
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.strict"]
    server = LiveServerThread("127.0.0.1", StaticFilesHandler)
    server.daemon = True
    server.start()
    server.is_ready.wait()
    if server.error:
        raise server.error
    browser.get_log("browser")
    yield f"http://127.0.0.1:{server.port}"
    browser.get("about:blank")
    browser.execute_cdp_cmd("Network.clearBrowserCookies", {})
    server.terminate()
    connections.close_all()


@pytest.fixture
def log_in(browser, site):
    """Let the browser be a user's, and open paths of the site."""

    def log_in(user):
        client = Client()
        client.force_login(user)
        cookie = client.cookies["sessionid"]
        # A cookie is for the site that is open; this page asks for nothing.
        browser.get(f"{site}/static/django_bgtasks/live.js")
        browser.add_cookie({"name": cookie.key, "value": cookie.value, "path": "/"})
        return lambda path: browser.get(site + path)

    return log_in


@pytest.fixture
def admin(log_in):
    """A browser in which somebody is logged in who may do everything."""
    return log_in(User.objects.create_superuser("boss", password="secret"))


def until(browser, condition, message=""):
    """What ``condition(browser)`` returns, once that is true.

    Where a part of the page is replaced in the middle of it, it is asked again.
    """
    replaced = [StaleElementReferenceException]
    wait = WebDriverWait(browser, 20, 0.05, ignored_exceptions=replaced)
    return wait.until(condition, message)


def until_shown(browser, selector):
    return until(browser, lambda page: page.find_element(By.CSS_SELECTOR, selector))


def until_said(browser, message):
    path = f"//ul[@class='messagelist']/li[contains(., '{message}')]"
    until(browser, lambda page: page.find_element(By.XPATH, path))


def until_says(browser, element, text):
    until(browser, lambda page: text in element.text)


def text_in(browser, selector):
    """What is read in a part of the page, in one go, for it may be replaced."""
    script = "return document.querySelector(arguments[0])?.innerText ?? ''"
    return browser.execute_script(script, selector)


def until_text(browser, selector, *texts):
    until(browser, lambda page: all(t in text_in(page, selector) for t in texts))


def click(browser, xpath):
    until(browser, lambda page: page.find_element(By.XPATH, xpath).click() is None)


def press(browser, button):
    click(browser, f"//button[normalize-space()='{button}']")


def type_into(browser, name, text):
    field = browser.find_element(By.NAME, name)
    field.clear()
    field.send_keys(text)
    return field


def complaints(browser):
    """What the browser's console says is wrong."""
    # The test's site has no icon, and the browser asks for one by itself.
    return [
        entry
        for entry in browser.get_log("browser")
        if entry["level"] == "SEVERE" and "favicon.ico" not in entry["message"]
    ]
