"""Every page in Chinese: whoever forgets to mark a text leaves English words on one."""

import re
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from django.template import engines
from django.utils import timezone, translation

from django_bgtasks.models import Job, Queue, Schedule, Tally
from django_bgtasks.models.job import new_id
from django_bgtasks.store import schedules
from django_bgtasks.wording import interval, number
from tests.admin.pages import act, changelist, failed_attempt, job_that_is, page, said
from tests.factories import living_worker, make_jobs

pytestmark = [pytest.mark.django_db, pytest.mark.once]

HOUR = timedelta(hours=1)

#: Attributes that are read, by people or by scripts for them.
READ = {"title", "alt", "placeholder", "aria-label"}
#: Those of them that say nothing.
FOR_SCRIPTS = {"data-chart", "data-days", "data-bgtasks-job"}
#: What is not prose.
SKIPPED = {"script", "style", "code", "pre"}
#: Lines of a traceback, below what we say of them.
LINES = re.compile(
    r'(<div class="bgtasks-lines[^>]*>(?:<span[^>]*>[^<]*</span>)?)[^<]*'
)
#: What Django says in English.
SAID_BY_DJANGO = re.compile('alt="Search"|Select an option')
#: In no language: paths, addresses, ids, names of zones, settings and commands.
NAMES = re.compile(
    r"""
    BGTASKS\['\w+'\] | manage\.py\ run_tasks | tasks\.py | @\w+(?:\(\.\.\.\))?
    | \w+(?:[.:/]\w+)+(?::\d+)?     # tests.sample.tasks.add, auth.user:42, Europe/Berlin
    | [0-9a-f]{8}-[0-9a-f-]*        # the id of a row, or its beginning
    | {"name":\ "value"} | \[42,\ "text"\] | user_id=42
    """,
    re.VERBOSE,
)
#: Of the test's rows, of Python, of formats and units, and of permissions, which Django
#: keeps in English.
WORDS = {
    *(
        "alpha",
        "beta",
        "boxa",
        "boxb",
        "default",
        "mail",
        "admin",
        "ValueError",
        "number",
    ),
    *(
        "ID",
        "JSON",
        "CSV",
        "UTC",
        "JavaScript",
        "shell",
        "cron",
        "Cron",
        "MB",
        "KB",
        "prod",
    ),
    *("Can", "view", "arguments", "and", "results", "of", "job", "None"),
}


class Reader(HTMLParser):
    """Collects what a reader sees or hears of the part of a page that is ours."""

    def __init__(self):
        super().__init__()
        self.texts = []
        self._open = []
        self._skipped = 0

    def handle_starttag(self, tag, attrs):
        attrs = {name: value or "" for name, value in attrs}
        if tag in SKIPPED:
            self._skipped += 1
        if self._skipped:
            return
        is_button = tag == "input" and attrs.get("type") in ("submit", "button")
        self.texts += [
            value
            for name, value in attrs.items()
            if name in READ
            or (name.startswith("data-") and name not in FOR_SCRIPTS)
            or (name == "value" and is_button)
        ]

    def handle_endtag(self, tag):
        if tag in SKIPPED:
            self._skipped -= 1

    def handle_data(self, data):
        if not self._skipped:
            self.texts.append(data)


def english(html):
    """The words of a page that are left in English."""
    reader = Reader()
    # Django's frame around it is Django's to translate.
    begin, end = html.find("<main"), html.find("</main>")
    html = html[max(begin, 0) : end if end > 0 else len(html)]
    reader.feed(LINES.sub(r"\1", SAID_BY_DJANGO.sub("", html)))
    found = {
        word
        for text in reader.texts
        for word in re.findall(r"[A-Za-z]{2,}", NAMES.sub(" ", text))
    }
    return found - WORDS


@pytest.fixture(autouse=True)
def chinese(settings):
    settings.LANGUAGE_CODE = "zh-hans"


@pytest.fixture
def rows():
    """One of each kind that a page shows differently."""
    now = timezone.now()
    queues = {"queue": "alpha"}
    worker = living_worker(hostname="boxa", queues=["alpha"], version="1", memory=2**26)
    for order in ("quiet", "drain", "stop"):
        living_worker(hostname="boxb", version="2", instruction=order)
    lost = living_worker(hostname="boxb", heartbeat_at=now - HOUR)
    job_that_is("RUNNING", worker=lost.pk, **queues)
    job_that_is("RUNNING", worker=new_id(), **queues)
    Queue.objects.create(name="alpha", paused_at=now, resume_at=now + 48 * HOUR)
    Queue.objects.create(name="beta", paused_at=now)
    schedules.save(Schedule(name="alpha", task="shop.renamed", cron="@daily"))
    schedules.save(
        Schedule(name="beta", task="tests.sample.tasks.add", every=15 * HOUR / 60)
    )
    schedules.save(Schedule(name="boxa", task="tests.sample.tasks.add", at=now + HOUR))
    Schedule.objects.filter(name="boxa").update(paused_at=now)
    job_that_is("SUCCESSFUL", schedule="beta", scheduled_for=now)
    Tally.objects.create(
        queue="alpha",
        minute=now.replace(second=0, microsecond=0) - HOUR / 30,
        successful=1200,
        failed=1,
        waits={"18": 1},
        runs={"21": 1},
    )
    progress = {"done": 1, "total": 3, "message": "alpha"}
    return {
        "worker": worker,
        "running": job_that_is(
            "RUNNING",
            worker=worker.pk,
            last_worker=worker.pk,
            progress=progress,
            cancel_requested_at=now,
            cancel_requested_by="admin",
            **queues,
        ),
        "ready": job_that_is("READY", unknown_since=now, **queues),
        "scheduled": job_that_is("SCHEDULED", attempt=1, started_at=now, **queues),
        "cancelled": job_that_is(
            "CANCELLED",
            cancel_requested_at=now,
            cancel_requested_by="admin",
            expires_at=now,
            retention=HOUR,
            unique_key="alpha",
            unique_until="finished",
        ),
        "failed": _failed(),
    }


def _failed():
    job = job_that_is(
        "FAILED",
        task="tests.sample.tasks.add",
        tags=["alpha"],
        verbose_name="beta",
        creator="auth.user:42",
        schedule="alpha",
        metadata={"alpha": 1},
    )
    frame = '  File "{}/alpha.py", line 1, in beta\n    alpha()\n'
    frames = frame.format("/lib/site-packages") + frame.format("/srv")
    failed_attempt(job, traceback=frames)
    failed_attempt(job, 2, ending="TIMED_OUT", traceback=frames)
    job_that_is("SUCCESSFUL", parent=job.pk)
    return job


def test_it_finds_what_is_not_translated():
    html = '<main><p title="Oh no">好 alpha</p><i>tests.sample</i> x Not'
    assert english(html) == {"Oh", "no", "Not"}


def test_an_empty_dashboard(admin_client):
    html = admin_client.get(changelist("dashboard")).content.decode()
    assert "此处尚未运行过作业" in html
    assert english(html) == set()


@pytest.mark.parametrize("window", ["1h", "24h", "7d"])
def test_the_dashboard(admin_client, rows, window):
    html = admin_client.get(
        changelist("dashboard"), {"window": window}
    ).content.decode()
    for heading in ("队列", "失败", "工作进程", "计划", "吞吐量"):
        assert heading in html
    assert english(html) == set()


@pytest.mark.parametrize(
    ("query", "heading"),
    [
        ({}, "入队时间"),
        ({"status": "FAILED", "queue": "alpha", "tag": "alpha"}, "移除过滤器"),
        ({"task": "there.is.none"}, "没有这样的作业"),
        ({"min_attempts": "beta"}, "不能作为过滤器"),
    ],
)
def test_the_list_of_jobs(admin_client, rows, query, heading):
    make_jobs(60, queue="alpha")
    html = admin_client.get(changelist(), query).content.decode()
    assert heading in html
    assert english(html) - {"min", "attempts"} == set()


@pytest.mark.parametrize(
    "which", ["running", "ready", "scheduled", "cancelled", "failed"]
)
def test_the_page_of_a_job(admin_client, rows, which):
    html = admin_client.get(page(rows[which])).content.decode()
    assert "时间线" in html
    assert english(html) == set()


def test_copying_a_job(admin_client, rows):
    path = page(rows["failed"], "duplicate")
    html = admin_client.get(path).content.decode()
    assert "原作业保持不变" in html
    assert english(html) == set()
    answer = {"args": "[", "kwargs": "[]", "queue_name": "alpha", "priority": 200}
    html = admin_client.post(path, answer).content.decode()
    assert "这不是 JSON" in html
    # Python's own words.
    assert english(html) <= {"Expecting", "value"}


@pytest.mark.parametrize("deed", ["set_priority", "move", "reschedule", "delete"])
def test_what_is_asked_before(admin_client, rows, deed):
    response = act(admin_client, f"{deed}_selected", [rows["ready"], rows["failed"]])
    html = response.content.decode()
    assert "此操作针对 2 个作业" in html
    assert english(html) == set()


@pytest.mark.parametrize("deed", ["retry", "cancel", "run_now"])
def test_what_is_said_after(admin_client, rows, deed):
    jobs = [rows[name] for name in ("running", "ready", "scheduled", "failed")]
    response = act(admin_client, f"{deed}_selected", jobs)
    assert said(response)
    assert english(" ".join(said(response))) == set()


@pytest.mark.parametrize("model", ["queue", "worker", "schedule"])
def test_the_other_lists(admin_client, rows, model):
    html = admin_client.get(changelist(model)).content.decode()
    heading = {"queue": "最早到期", "worker": "最近心跳", "schedule": "下次运行"}
    assert heading[model] in html
    assert english(html) == set()


def test_the_page_of_a_queue(admin_client, rows):
    html = admin_client.get(page(Queue(name="alpha"))).content.decode()
    assert "更改暂停" in html
    assert english(html) == set()
    html = admin_client.get(changelist("queue") + "add/").content.decode()
    assert english(html) == set()


def test_the_page_of_a_worker(admin_client, rows):
    html = admin_client.get(page(rows["worker"])).content.decode()
    assert "持有的作业" in html
    assert english(html) == set()


@pytest.mark.parametrize("name", ["alpha", "beta", "boxa"])
def test_the_page_of_a_schedule(admin_client, rows, name):
    html = admin_client.get(page(Schedule(name=name))).content.decode()
    assert "接下来的运行" in html
    assert english(html) == set()


def test_a_new_schedule(admin_client):
    html = admin_client.get(changelist("schedule") + "add/").content.decode()
    assert "填写时间后" in html
    assert english(html) == set()


def test_cleaning_up(admin_client, rows):
    path = changelist("worker") + "clean-up/"
    html = admin_client.get(path).content.decode()
    assert "中断的工作进程的残留" in html
    assert english(html) == set()
    taken = [pk for pk in Job.objects.values_list("worker", flat=True) if pk]
    response = admin_client.post(path + "rescue/", {"worker": [*taken, new_id()]})
    assert said(response)
    assert english(" ".join(said(response))) == set()
    assert english(" ".join(said(admin_client.post(path + "prune/")))) == set()


@pytest.mark.parametrize("which", ["running", "scheduled", "failed"])
def test_the_block_for_other_pages(rf, rows, which):
    rows[which].verbose_name = "alpha"
    request = rf.get("/")
    text = "{% load bgtasks %}{% job_status job live='' %}"
    html = engines["django"].from_string(text).render({"job": rows[which]}, request)
    assert re.search(r"[\u4e00-\u9fff]", html)
    assert english(html) == set()


def test_names_of_days_are_those_of_the_language(admin_client):
    html = admin_client.get(changelist("dashboard"), {"window": "7d"}).content.decode()
    assert re.search(r"星期[一二三四五六日]", html)


@pytest.mark.parametrize(
    ("language", "texts"),
    [
        ("en", ["1,234,567", "2,000 d", "36 h", "15 min", "90 s", "0.25 s"]),
        ("zh-hans", ["1234567", "2000 天", "36 小时", "15 分", "90 秒", "0.25 秒"]),
    ],
)
def test_numbers_are_those_of_the_language(language, texts):
    spans = [
        timedelta(days=2000),
        timedelta(hours=36),
        timedelta(minutes=15),
        timedelta(seconds=90),
        timedelta(seconds=0.25),
    ]
    with translation.override(language):
        assert [number(1234567), *(interval(span) for span in spans)] == texts


def test_numbers_are_ones_own_even_where_words_are_not():
    # Which words these are, was settled when a test before asked for the first time.
    with translation.override("de"):
        assert number(1234567) == "1.234.567"
        assert interval(timedelta(seconds=0.25)).startswith("0,25 ")
