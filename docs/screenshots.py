"""Takes the pictures of the documentation: ``make screenshots``.

A week in the life of the example site is written into a database of its own; then the
admin's pages are looked at in headless Chromium.
"""

from __future__ import annotations

import math
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
IMAGES = HERE / "images"

sys.path.insert(0, str(HERE.parent / "example_project"))
DATA = tempfile.mkdtemp(prefix="bgtasks-screenshots-")
os.environ |= {"DJANGO_SETTINGS_MODULE": "site_config.settings", "DATA_DIR": DATA}
# Texts of the browser are in its own language, not in that of whoever runs this.
os.environ["LANGUAGE"] = "en"

import django

django.setup()

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.management import call_command
from django.db import connections
from django.test import Client
from django.test.testcases import LiveServerThread
from django.urls import reverse
from django.utils import timezone
from PIL import Image
from selenium import webdriver

from django_bgtasks.models import (
    Attempt,
    Job,
    Queue,
    Schedule,
    Tally,
    Worker,
)
from django_bgtasks.models.job import new_id
from django_bgtasks.store import schedules
from django_bgtasks.store.tallies import ALL_QUEUES
from django_bgtasks.version import VERSION

#: The same week each time.
chance = random.Random(7)  # noqa: S311 (no secret)

#: What the site does: task, queue, jobs a minute at noon, seconds that one takes.
WORK = (
    ("newsletter.tasks.deliver", "mail", 220, 0.18),
    ("pictures.tasks.make_thumbnails", "pictures", 34, 1.4),
    ("webhooks.tasks.deliver_webhook", "webhooks", 61, 0.35),
    ("sales.tasks.compute_report", "default", 9, 6.0),
)
FAILURES = (
    (
        "webhooks.tasks.deliver_webhook",
        "webhooks",
        "webhooks.sender.RefusedError",
        "The receiver answered 410 Gone",
        14,
    ),
    (
        "newsletter.tasks.deliver",
        "mail",
        "smtplib.SMTPRecipientsRefused",
        "550 5.1.1 unknown recipient",
        9,
    ),
    (
        "pictures.tasks.make_thumbnails",
        "pictures",
        "PIL.UnidentifiedImageError",
        "cannot identify image file",
        3,
    ),
)
TRACEBACK = """\
Traceback (most recent call last):
  File "/srv/gazette/.venv/lib/python3.13/site-packages/django_bgtasks/worker/execution.py", line 214, in _run
    value = self._call(*args, **kwargs)
  File "/srv/gazette/webhooks/tasks.py", line 21, in deliver_webhook
    send(webhook, attempt=context.attempt)
  File "/srv/gazette/webhooks/sender.py", line 38, in send
    raise RefusedError(f"The receiver answered {response.status} {response.reason}")
webhooks.sender.RefusedError: The receiver answered 410 Gone
"""


def main() -> None:
    call_command("migrate", verbosity=0)
    live_through_a_week(timezone.now())
    IMAGES.mkdir(exist_ok=True)
    with site() as address, browser() as driver:
        log_in(driver, address)
        for shot in shots():
            if shot.name == "workers":
                leave_something(timezone.now())
            path = shot.take(driver, address)
            print(path.relative_to(HERE.parent), f"{path.stat().st_size >> 10} KB")  # noqa: T201 (it is a command)


# -- what there is to see


def live_through_a_week(now: datetime) -> None:
    """Write what workers would have left.

    Args:
        now: the end of the week.
    """
    workers = add_workers(now)
    add_tallies(now)
    for name in ("mail", "pictures", "webhooks", "default"):
        Queue.objects.get_or_create(name=name)
    Queue.objects.create(
        name="imports",
        paused_at=now - timedelta(minutes=12),
        resume_at=now + timedelta(minutes=48),
    )
    jobs: list[Callable[[], object]] = []
    for task, queue, per_minute, seconds in WORK:
        for number in range(15):
            at = now - timedelta(seconds=24 * number)
            jobs.append(partial(add_finished, task, queue, at, seconds))
        ready = partial(add_job, task, queue, now, status="READY")
        jobs += [ready] * (per_minute // 8)
    for task, queue, path, error, count in FAILURES:
        for number in range(count):
            at = now - timedelta(minutes=11 * number + 3 + len(jobs) % 7)
            jobs.append(partial(add_failed, task, queue, path, error, at))
    # The list has what was enqueued last at its top: some of each.
    chance.shuffle(jobs)
    for add in jobs:
        add()
    for number, worker in enumerate(workers):
        task, queue, _, seconds = WORK[number % len(WORK)]
        began = now - timedelta(seconds=seconds + 2)
        add_job(
            task,
            queue,
            began,
            status="RUNNING",
            worker=worker.pk,
            started_at=began,
            progress={"done": 5 + number, "total": 12, "message": "July"},
        )
    add_schedules(now)


def add_workers(now: datetime) -> list[Worker]:
    return [
        Worker.objects.create(
            hostname=host,
            pid=pid,
            queues=queues,
            threads=4,
            started_at=now - timedelta(hours=31, minutes=pid % 60),
            # So that they are alive while the pictures are taken.
            heartbeat_at=now + timedelta(minutes=5),
            version=VERSION,
            memory=(58 + pid % 17) << 20,
        )
        for host, pid, queues in (
            ("web-1", 4121, []),
            ("web-1", 4122, []),
            ("web-2", 977, ["mail", "webhooks"]),
            ("web-2", 978, ["pictures"]),
        )
    ]


def leave_something(now: datetime) -> None:
    """Jobs of a worker that died."""
    dead = Worker.objects.create(
        hostname="web-3",
        pid=64,
        queues=["pictures"],
        threads=4,
        started_at=now - timedelta(hours=5),
        heartbeat_at=now - timedelta(minutes=7),
        version=VERSION,
        memory=71 << 20,
    )
    for seconds in (3, 9, 11):
        began = now - timedelta(minutes=7, seconds=seconds)
        add_job(
            "pictures.tasks.make_thumbnails",
            "pictures",
            began,
            status="RUNNING",
            worker=dead.pk,
            started_at=began,
        )


def add_tallies(now: datetime) -> None:
    """Minute by minute for two days, hour by hour for the rest of a week."""
    minute = now.replace(second=0, microsecond=0)
    spans = [(minute - timedelta(minutes=back), 1) for back in range(2 * 24 * 60)]
    hour = minute.replace(minute=0) - timedelta(hours=48)
    spans += [(hour - timedelta(hours=back), 60) for back in range(1, 5 * 24 + 1)]
    tallies = []
    for begin, span in spans:
        of_queues = [
            tally_of(queue, begin, span, per_minute, seconds)
            for _, queue, per_minute, seconds in WORK
        ]
        waiting = sum(tally.waiting for tally in of_queues)
        of_all = Tally(queue=ALL_QUEUES, minute=begin, span=span, waiting=waiting)
        tallies += [*of_queues, of_all]
    Tally.objects.bulk_create(tallies, batch_size=500)


def tally_of(
    queue: str, begin: datetime, span: int, per_minute: int, seconds: float
) -> Tally:
    # Most at noon, little at night, and never the same.
    day = (begin.hour * 60 + begin.minute) / (24 * 60)
    load = (0.35 + 0.65 * math.sin(math.pi * day) ** 2) * chance.uniform(0.8, 1.2)
    count = max(1, round(per_minute * load * span))
    failed = sum(chance.random() < 0.012 for _ in range(min(count, 300)))
    return Tally(
        queue=queue,
        minute=begin,
        span=span,
        successful=count - failed,
        failed=failed,
        retried=failed * 2,
        wait_seconds=count * 0.08 * load,
        run_seconds=count * seconds,
        waits=spread(0.06 * load, count),
        runs=spread(seconds, count),
        waiting=round(per_minute * load * chance.uniform(0, 0.4)),
    )


def spread(seconds: float, count: int) -> dict[str, int]:
    """A histogram of times around ``seconds``, in buckets as Tally has them."""
    middle = int(seconds * 1_000_000).bit_length()
    shares = ((-1, 0.25), (0, 0.55), (1, 0.15), (2, 0.05))
    return {str(middle + step): math.ceil(count * share) for step, share in shares}


def add_job(task: str, queue: str, at: datetime, **columns: object) -> Job:
    return Job.objects.create(
        **{
            "task": task,
            "queue": queue,
            "status": "READY",
            "args": [chance.randrange(1, 9000)],
            "backend": "default",
            "max_attempts": 3,
            "enqueued_at": at,
            "attempt": 1 if "started_at" in columns else 0,
            "run_token": 1,
            **columns,
        }
    )


def add_finished(task: str, queue: str, at: datetime, seconds: float) -> None:
    took = timedelta(seconds=seconds * chance.uniform(0.6, 1.8))
    began = at - took
    add_job(
        task,
        queue,
        began - timedelta(seconds=0.06),
        status="SUCCESSFUL",
        started_at=began,
        finished_at=at,
        last_worker=new_id(),
    )


def add_failed(task: str, queue: str, path: str, error: str, at: datetime) -> None:
    began = at - timedelta(seconds=38)
    job = add_job(
        task,
        queue,
        began,
        status="FAILED",
        started_at=at - timedelta(seconds=1),
        finished_at=at,
        max_attempts=3,
        last_worker=new_id(),
    )
    job.attempt = 3
    job.save()
    name = path.rpartition(".")[2]
    for number, start in enumerate((0.1, 9, 37), start=1):
        Attempt.objects.create(
            job=job,
            number=number,
            ending="FAILED",
            worker=job.last_worker or new_id(),
            started_at=began + timedelta(seconds=start),
            finished_at=began + timedelta(seconds=start + 0.8),
            exception_class_path=path,
            error=f"{name}: {error}",
            traceback=TRACEBACK,
        )


def add_schedules(now: datetime) -> None:
    call_command("run_scheduler", "--once", verbosity=0)
    for name, task, cron in (
        ("weekly-newsletter", "newsletter.tasks.send_newsletter", "0 7 * * 1-5"),
        ("hourly-report", "sales.tasks.report_on_new_imports", "5 * * * *"),
    ):
        schedules.save(Schedule(name=name, task=task, cron=cron), now)


# -- looking at it


@dataclass(frozen=True)
class Shot:
    """A picture to take.

    Args:
        name: of its file, without the ending.
        path: what is looked at.
        width, height: of the window; a height of 0 takes all of the page.
        dark: whether it is night.
        language: of the browser.
    """

    name: str
    path: str
    width: int = 1400
    height: int = 1000
    dark: bool = False
    language: str = "en"

    def take(self, driver: webdriver.Chrome, address: str) -> Path:
        """Save it in few colours, for it is going to be downloaded often."""
        tell = driver.execute_cdp_cmd
        scheme = {"name": "prefers-color-scheme", "value": "dark" if self.dark else ""}
        tell("Emulation.setEmulatedMedia", {"features": [scheme]})
        headers = {"headers": {"Accept-Language": self.language}}
        tell("Network.setExtraHTTPHeaders", headers)
        self._resize(driver, self.height or 1000)
        driver.get(address + self.path)
        if not self.height:
            script = "return document.documentElement.scrollHeight"
            self._resize(driver, driver.execute_script(script))
        # Charts are drawn in the next frames.
        driver.execute_async_script(
            "const done = arguments[0];"
            "document.fonts.ready.then(() => setTimeout(done, 500));"
        )
        path = IMAGES / f"{self.name}.png"
        driver.save_screenshot(str(path))
        with Image.open(path) as image:
            palette = Image.Quantize.MAXCOVERAGE  # leaves out no rare one
            image.convert("RGB").quantize(256, palette, kmeans=2).save(
                path, optimize=True
            )
        return path

    def _resize(self, driver: webdriver.Chrome, height: int) -> None:
        metrics = {"deviceScaleFactor": 1, "mobile": self.width < 600}
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": self.width, "height": height, **metrics},
        )


def shots() -> list[Shot]:
    dashboard = changelist("dashboard")
    failed = Job.objects.failed().for_task(FAILURES[0][0]).latest("finished_at")
    job = reverse("admin:django_bgtasks_job_change", args=[failed.pk])
    return [
        Shot("dashboard", dashboard, height=0),
        Shot("dashboard-dark", dashboard, dark=True),
        Shot("dashboard-phone", dashboard, width=400, height=900),
        Shot("dashboard-chinese", dashboard, language="zh-CN"),
        # Wide enough for errors.
        Shot("jobs", changelist("job"), width=1600, height=900),
        Shot("job", job, height=0),
        Shot("job-dark", job, dark=True),
        Shot("queues", changelist("queue"), height=620),
        Shot("workers", changelist("worker"), height=520),
        Shot("clean-up", reverse("admin:django_bgtasks_worker_clean_up"), height=720),
        Shot("schedules", changelist("schedule"), height=640),
    ]


def changelist(model: str) -> str:
    return reverse(f"admin:django_bgtasks_{model}_changelist")


@contextmanager
def site() -> Iterator[str]:
    """The address of a server with the example site."""
    locale = "django.middleware.locale.LocaleMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, locale]
    server = LiveServerThread("127.0.0.1", StaticFilesHandler)
    server.daemon = True
    server.start()
    server.is_ready.wait()
    if server.error:
        raise server.error
    yield f"http://127.0.0.1:{server.port}"
    server.terminate()
    connections.close_all()


@contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--hide-scrollbars",
    ):
        options.add_argument(flag)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    driver.execute_cdp_cmd("Network.enable", {})
    yield driver
    driver.quit()


def log_in(driver: webdriver.Chrome, address: str) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("editor", password="no secret"))  # noqa: S106 (of a database that lives for a minute)
    driver.get(address + "/favicon.ico")
    cookie = client.cookies[settings.SESSION_COOKIE_NAME]
    driver.add_cookie({"name": cookie.key, "value": cookie.value})


if __name__ == "__main__":
    try:
        main()
    finally:
        shutil.rmtree(DATA, ignore_errors=True)
