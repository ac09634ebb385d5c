from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from django_bgtasks.models import Job
from tests.admin.pages import utc

pytestmark = pytest.mark.django_db

ADD = "tests.sample.tasks.add"
PAY = "tests.sample.tasks.pay"


def enqueue(*arguments):
    call_command("enqueue_task", *arguments)
    return Job.objects.last()


def refusal(*arguments):
    with pytest.raises(CommandError) as caught:
        call_command("enqueue_task", *arguments)
    assert not Job.objects.exists()
    return str(caught.value)


def test_a_job(capsys):
    job = enqueue(ADD, "[1, 2]")
    assert capsys.readouterr().out == f"{job.pk}\n"
    assert (job.task, job.args, job.kwargs, job.status) == (ADD, [1, 2], {}, "READY")


def test_its_options():
    job = enqueue(
        "tests.sample.tasks.send_mail",
        '["a@example.org"]',
        '--kwargs={"subject": "Hi"}',
        "--queue=slow",
        "--priority=-3",
    )
    assert (job.kwargs, job.queue, job.priority) == ({"subject": "Hi"}, "slow", -3)
    assert enqueue("shop.renamed").args == []


def test_a_delay():
    job = enqueue(ADD, "[1]", "--delay=90.5")
    assert job.status == "SCHEDULED"
    waits = job.run_after - timezone.now()
    assert timedelta(seconds=80) < waits <= timedelta(seconds=90.5)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2120-07-01T09:30", datetime(2120, 7, 1, 7, 30, tzinfo=UTC)),
        ("2120-07-01T09:30Z", datetime(2120, 7, 1, 9, 30, tzinfo=UTC)),
        ("2120-01-01", datetime(2119, 12, 31, 23, tzinfo=UTC)),
    ],
)
def test_a_time(text, moment):
    job = enqueue(ADD, "[1]", f"--run-after={text}")
    assert job.run_after == utc(*moment.timetuple()[:6])
    assert job.status == "SCHEDULED"


@pytest.mark.parametrize(
    "options",
    [
        ["--run-after=soon"],
        ["--delay=-1"],
        ["--delay=nan"],
        ["--delay=1", "--run-after=2120-01-01"],
        ["--priority=high"],
    ],
    ids=" ".join,
)
def test_nonsense_is_refused(options):
    assert refusal(ADD, "[1]", *options)


def test_what_the_task_refuses():
    assert "between -100 and 100" in refusal(ADD, "[1]", "--priority=101")
    assert "1 to 100 characters" in refusal(ADD, "[1]", f"--queue={'q' * 101}")


def test_arguments_that_do_not_fit():
    assert refusal(ADD) == (
        f"{ADD}() cannot be called so: missing a required argument: 'a'."
    )
    assert "unexpected keyword argument 'c'" in refusal(ADD, "[1]", '--kwargs={"c": 2}')
    assert "args[0]" in refusal(ADD, '["\\u0000"]')


@pytest.mark.parametrize(
    "path",
    ["add", "sample.tasks.add", "tests.sample.taks.add", "tests.sample.tasks.ad"],
)
def test_a_task_that_is_not_there(path):
    text = refusal(path)
    assert f"No task is registered as {path!r}. Did you mean " in text
    assert ADD in text
    assert "BGTASKS['IMPORTS']" in text


def test_a_task_like_none():
    assert "Did you mean" not in refusal("zzz")


def test_bad_json_is_pointed_at():
    assert refusal(ADD, "[1, x]") == (
        "ARGS must be a list in JSON, such as '[1, 2]'. "
        "Expecting value (line 1, column 5).\n  [1, x]\n      ^"
    )
    text = refusal(ADD, "[1]", "--kwargs={\n" + '"long": "' + "a" * 99 + '", b: 1}')
    _, line, mark = text.splitlines()
    assert line[mark.index("^")] == "b"
    assert len(line) <= 70


def test_json_of_the_wrong_kind():
    assert refusal(ADD, "1") == "ARGS must be a list in JSON, such as '[1, 2]'."
    assert "--kwargs must be an object in JSON" in refusal(ADD, "[1]", "--kwargs=[]")
    assert refusal(ADD, "[" * 200_000) == "ARGS is nested too deeply."


def test_what_is_sensitive_is_not_echoed(capsys):
    text = refusal(PAY, '["ada", "opensesame"')
    assert "line 1, column" in text
    for arguments in (['["a", "opensesame"]'], ["[]", '--kwargs={"opensesame": 1}']):
        text += refusal(PAY, *arguments)
    enqueue(PAY, '["ada", "opensesame"]', '--kwargs={"how": "message"}')
    captured = capsys.readouterr()
    assert "opensesame" not in text.replace("argument 'opensesame'", "")
    assert "opensesame" not in captured.out + captured.err
