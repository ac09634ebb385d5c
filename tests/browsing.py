"""A real browser, and a site for it to look at, whose policy is strict."""

import os
import shutil

import pytest
from django.contrib.auth.models import User
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.db import connection, connections
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
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait
except ModuleNotFoundError:
    webdriver = None

#: Marks of tests that need one. They run on two databases, and MariaDB shows nothing
#: that these do not.
in_browser = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        not REQUIRED and not (webdriver and CHROMIUM and CHROMEDRIVER),
        reason="needs selenium, chromium and chromedriver",
    ),
    pytest.mark.skipif(
        connection.vendor == "mysql", reason="browsers see the same there"
    ),
    pytest.mark.skipif(
        connection.vendor == "postgresql" and "COVERAGE" in os.environ,
        reason="what they cover is measured on SQLite",
    ),
]


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(CHROMEDRIVER)
    browser = webdriver.Chrome(options=options, service=service)
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
def site(transactional_db, settings):
    """The address of a server that has the static files, as runserver has them."""
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.strict"]
    server = LiveServerThread("127.0.0.1", StaticFilesHandler)
    server.daemon = True
    server.start()
    server.is_ready.wait()
    if server.error:
        raise server.error
    yield f"http://127.0.0.1:{server.port}"
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
        browser.get_log("browser")
        return lambda path: browser.get(site + path)

    yield log_in
    browser.get("about:blank")
    browser.delete_all_cookies()


@pytest.fixture
def admin(log_in):
    """A browser in which somebody is logged in who may do everything."""
    return log_in(User.objects.create_superuser("boss", password="secret"))


def until(browser, condition):
    """What ``condition(browser)`` returns, once that is true."""
    return WebDriverWait(browser, 20).until(condition)


def until_shown(browser, selector):
    return until(browser, lambda page: page.find_element(By.CSS_SELECTOR, selector))


def until_said(browser, message):
    path = f"//ul[@class='messagelist']/li[contains(., '{message}')]"
    until(browser, lambda page: page.find_element(By.XPATH, path))


def until_says(browser, element, text):
    until(browser, lambda page: text in element.text)


def press(browser, button):
    browser.find_element(By.XPATH, f"//button[normalize-space()='{button}']").click()


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
