import re
import uuid
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ImproperlyConfigured
from django.template import Context, Template, TemplateSyntaxError
from django.test import RequestFactory
from django.urls import path

from django_bgtasks.tickets import Ticket
from tests.admin.pages import MARKUP, job_that_is
from tests.sample.tasks import add

pytestmark = pytest.mark.django_db

urlpatterns = [path("elsewhere/", lambda request: None)]


def render(job, options="", user=None, **context):
    request = RequestFactory().get("/")
    request.user = user or AnonymousUser()
    context = {"job": job, "request": request, **context}
    template = Template(f"{{% load bgtasks %}}{{% job_status job {options} %}}")
    return template.render(Context(context))


def ticket_in(html, kind="poll"):
    found = re.search(rf'data-bgtasks-{kind}="/bgtasks/\w+/([^/]+)/"', html)
    return found and Ticket.read(found[1])


def test_a_running_job():
    reported = {"done": 1, "total": 4, "message": "the first"}
    html = render(job_that_is("RUNNING", progress=reported))
    assert "bgtasks-status-running" in html
    assert ">Running<" in html
    assert ">the first<" in html
    assert re.search(r'<progress [^>]*max="100" aria-label="Add" value="25">', html)
    assert 'role="status"' in html


@pytest.mark.parametrize(
    ("state", "value"),
    [("READY", 'value="0"'), ("RUNNING", None), ("SUCCESSFUL", 'value="100"')],
)
def test_the_bar_of_a_job_that_reports_nothing(state, value):
    bar = re.search("<progress [^>]*>", render(job_that_is(state)))[0]
    assert (value in bar) if value else ("value" not in bar)


def test_it_takes_a_job_a_result_and_an_id():
    result = add(1)
    shown = [render(given) for given in (result, result.id, uuid.UUID(result.id))]
    assert len(set(shown)) == 1
    assert ticket_in(shown[0]).job == uuid.UUID(result.id)


@pytest.mark.parametrize("job", [None, uuid.uuid4(), "no id"])
def test_a_job_that_is_no_more(job):
    html = render(job, 'label="Report"')
    assert "No longer on record" in html
    assert ">Report<" in html
    assert "data-bgtasks" not in html


def test_the_ticket_is_for_whom_the_page_is_rendered():
    job = job_that_is("READY")
    ann = User.objects.create_user("ann")
    assert ticket_in(render(job, user=ann)) == Ticket(job.pk, str(ann.pk))
    assert ticket_in(render(job)) == Ticket(job.pk, None)
    nobody = SimpleNamespace()
    assert ticket_in(render(job, request=nobody)) == Ticket(job.pk, None)


def test_a_page_that_is_rendered_again_is_the_same():
    job = job_that_is("READY")
    assert render(job) == render(job)


def test_the_label():
    job = job_that_is("READY", verbose_name="Report for March")
    assert "Report for March" in render(job)
    assert "Yours" in render(job, 'label="Yours"')
    assert "March" not in render(job, 'label="Yours"')


def test_one_may_listen_instead_of_asking():
    html = render(job_that_is("RUNNING"), 'live="events"')
    assert ticket_in(html) == ticket_in(html, "events")
    assert "data-bgtasks-events" not in render(job_that_is("RUNNING"))


@pytest.mark.parametrize("state", ["SUCCESSFUL", "FAILED", "CANCELLED"])
def test_what_has_ended_is_not_followed(state):
    assert ticket_in(render(job_that_is(state))) is None


def test_a_block_that_stays_needs_neither_request_nor_urls(settings):
    settings.ROOT_URLCONF = __name__
    template = Template('{% load bgtasks %}{% job_status job live="" %}')
    html = template.render(Context({"job": job_that_is("RUNNING")}))
    assert "Running" in html
    assert "data-bgtasks-poll" not in html


def test_a_result_is_shown_if_asked_for():
    done = job_that_is("SUCCESSFUL", result={"months": 12})
    assert "months" in render(done, "show_result=True")
    assert "months" not in render(done)
    assert ticket_in(render(job_that_is("READY"), "show_result=True")).shows_result


def test_all_of_it_is_escaped():
    job = job_that_is(
        "SUCCESSFUL",
        verbose_name=MARKUP,
        progress={"done": 1, "total": 1, "message": MARKUP},
        result=MARKUP,
    )
    html = render(job, "show_result=True")
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 4
    assert "<script" not in render(job, "label=label", label=MARKUP)


def test_nothing_sensitive_is_shown():
    job = job_that_is(
        "RUNNING",
        task="tests.sample.tasks.pay",
        args=["ann", "hunter22"],
        progress={"done": 1, "total": 2, "message": "charging hunter22"},
    )
    assert "hunter22" not in render(job)


def test_it_knows_two_ways_only():
    with pytest.raises(TemplateSyntaxError, match="'poll', 'events' or ''"):
        render(job_that_is("READY"), 'live="sse"')


def test_without_a_request_it_says_what_to_do():
    template = Template("{% load bgtasks %}{% job_status job %}")
    with pytest.raises(ImproperlyConfigured, match="context_processors.request"):
        template.render(Context({"job": job_that_is("READY")}))


def test_without_urls_it_says_what_to_do(settings):
    settings.ROOT_URLCONF = __name__
    with pytest.raises(ImproperlyConfigured, match=r"include\('django_bgtasks.urls'\)"):
        render(job_that_is("READY"))
