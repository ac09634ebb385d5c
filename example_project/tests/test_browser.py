"""The main thing, with everything real: a browser, a web server, a worker process."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection
from django.urls import reverse

from django_bgtasks.models import Job
from pictures.models import Picture

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")

try:
    from selenium import webdriver
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support import expected_conditions as expect
    from selenium.webdriver.support.wait import WebDriverWait
except ImportError:
    webdriver = None

MISSING = [
    name
    for name, found in (
        ("selenium", webdriver),
        ("chromium", CHROMIUM),
        ("chromedriver", CHROMEDRIVER),
    )
    if not found
]

pytestmark = [
    pytest.mark.skipif(
        bool(MISSING) and os.environ.get("REQUIRE_BROWSER") != "1",
        reason=f"not installed: {', '.join(MISSING)}",
    ),
    # It starts processes, and the browser takes its time on a busy machine.
    pytest.mark.timeout(300),
]

CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,900",
]


@pytest.fixture
def browser(tmp_path):
    assert not MISSING, f"REQUIRE_BROWSER is set, but there is no {MISSING}"
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*CHROMIUM_FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(CHROMEDRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def start_worker(tmp_path):
    """Starts ``manage.py run_tasks`` on the test database; checks its clean end."""
    log = tmp_path / "worker.log"
    processes = []

    def start():
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, settings.BASE_DIR / "manage.py", "run_tasks"],
                env=os.environ | worker_environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        processes.append(process)

    yield start
    for process in processes:
        process.terminate()
        assert process.wait(timeout=60) == 0, log.read_text()


def worker_environment():
    return {
        "DJANGO_SETTINGS_MODULE": "site_config.settings",
        "DATABASE_URL": url_of_test_database(),
        "DEBUG": "0",
    }


def url_of_test_database():
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        return f"sqlite:///{Path(name).as_posix()}"
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()


def log_in_to_admin(browser, site):
    get_user_model().objects.create_superuser("admin", password="a password")
    browser.get(site + reverse("admin:index"))
    browser.find_element(By.NAME, "username").send_keys("admin")
    browser.find_element(By.NAME, "password").send_keys("a password")
    browser.find_element(By.CSS_SELECTOR, "[type=submit]").click()
    WebDriverWait(browser, 30).until(
        expect.presence_of_element_located((By.ID, "user-tools"))
    )


def test_a_picture_uploaded_in_the_browser_gets_its_thumbnails(
    live_server, browser, start_worker, picture_file, tmp_path
):
    picture = tmp_path / "harbour.png"
    picture.write_bytes(picture_file(size=(1600, 900)).read())
    wait = WebDriverWait(browser, 60)

    browser.get(live_server.url + reverse("pictures:index"))
    browser.find_element(By.NAME, "image").send_keys(str(picture))
    browser.find_element(By.CSS_SELECTOR, "main form button").click()
    word = (By.CSS_SELECTOR, ".bgtasks-status-word")
    wait.until(expect.text_to_be_present_in_element(word, "Ready"))
    browser.execute_script("window.notReloaded = true")

    start_worker()
    wait.until(expect.text_to_be_present_in_element(word, "Successful"))
    wait.until(lambda _: loaded_widths(browser) == [160, 480, 1280])
    assert browser.execute_script("return window.notReloaded")
    assert browser.get_log("browser") == []

    job = Job.objects.get(pk=Picture.objects.get().job_id)
    log_in_to_admin(browser, live_server.url)
    browser.get(
        live_server.url + reverse("admin:django_bgtasks_job_change", args=[job.pk])
    )
    assert "successful" in browser.find_element(By.ID, "content").text.lower()


def loaded_widths(browser):
    return browser.execute_script(
        "return [...document.querySelectorAll('figure img')].map((i) => i.naturalWidth)"
    )


def test_a_button_of_the_first_page_starts_work_that_is_seen_there(
    live_server, browser, start_worker
):
    wait = WebDriverWait(browser, 60)
    browser.get(live_server.url)
    browser.find_element(By.XPATH, "//button[contains(., 'Import')]").click()
    word = (By.CSS_SELECTOR, ".jobs .bgtasks-status-word")
    wait.until(expect.text_to_be_present_in_element(word, "Ready"))
    browser.execute_script("window.notReloaded = true")

    start_worker()
    wait.until(expect.text_to_be_present_in_element(word, "Running"))
    wait.until(lambda _: 0 < value_of_bar(browser) < 100)
    wait.until(expect.text_to_be_present_in_element(word, "Successful"))
    assert value_of_bar(browser) == 100
    wait.until(lambda _: "worker live" in figures(browser))
    assert browser.execute_script("return window.notReloaded")
    assert browser.get_log("browser") == []


def value_of_bar(browser):
    return browser.execute_script(
        "return document.querySelector('.jobs progress').value"
    )


def figures(browser):
    # In one step: the part they are in is replaced again and again.
    return browser.execute_script("return document.querySelector('.figures').innerText")
