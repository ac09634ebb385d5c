"""What a job's page links to, and for whom."""

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse

from django_bgtasks.admin.relatives import CHILD_LIMIT
from django_bgtasks.models import Schedule
from tests.admin.pages import MARKUP, changelist, field, job_that_is, page, text_of
from tests.factories import living_worker, make_job
from tests.sample.models import Order

pytestmark = pytest.mark.django_db


def test_whom_it_is_for(admin_client):
    ada = User.objects.create_user(MARKUP)
    response = admin_client.get(page(make_job(creator=f"auth.user:{ada.pk}")))
    assert field(response, "creator") == f"{MARKUP} auth.user:{ada.pk}"
    assert reverse("admin:auth_user_change", args=[ada.pk]) in response.text
    assert MARKUP not in response.text


@pytest.mark.parametrize(
    ("creator", "shown"),
    [
        ("auth.user:0", "auth.user:0, which is not to be found"),
        ("auth.user:x", "auth.user:x, which is not to be found"),
        # Of another database, no such model, none that the admin knows, no reference.
        ("auth.user@nowhere:1", "auth.user@nowhere:1"),
        ("shop.gone:1", "shop.gone:1"),
        ("sessions.session:1", "sessions.session:1"),
        (MARKUP, MARKUP),
    ],
)
def test_a_creator_that_cannot_be_shown(admin_client, creator, shown):
    response = admin_client.get(page(make_job(creator=creator)))
    assert field(response, "creator") == shown


def test_a_creator_without_a_page(admin_client):
    order = Order.objects.create()
    response = admin_client.get(page(make_job(creator=f"sample.order:{order.pk}")))
    assert field(response, "creator") == f"sample.order:{order.pk}"


def test_a_creator_with_a_key_that_an_address_must_not_hold(admin_client):
    group = Group.objects.create(name="a/b")
    response = admin_client.get(page(make_job(creator=f"auth.group:{group.pk}")))
    assert field(response, "creator").startswith("a/b")


def test_no_link_leads_to_what_one_may_not_see(member):
    ada = User.objects.create_user("ada")
    schedule = Schedule.objects.create(name="nightly", task="x", cron="@daily")
    worker = living_worker()
    row = job_that_is(
        "RUNNING",
        creator=f"auth.user:{ada.pk}",
        schedule="nightly",
        last_worker=worker.pk,
        worker=worker.pk,
    )
    response = member("view_job").get(page(row))
    assert field(response, "creator") == f"auth.user:{ada.pk}"
    assert field(response, "schedule_link") == "nightly"
    assert field(response, "worker_name") == f"box:7 ({worker.pk})"
    for target in (schedule, worker):
        assert page(target) not in response.text
    assert reverse("admin:auth_user_change", args=[ada.pk]) not in response.text
    response = member("view_job", "view_schedule", "view_worker").get(page(row))
    for target in (schedule, worker):
        assert page(target) in response.text


def test_a_parent_that_is_gone(admin_client):
    parent = make_job()
    row = make_job(parent=parent.pk)
    parent.delete()
    response = admin_client.get(page(row))
    assert field(response, "parent_link") == str(row.parent)
    assert f"/{row.parent}/" not in response.text


def test_the_newest_children_are_listed(admin_client):
    row = make_job()
    other = make_job(parent=make_job().pk)
    children = [
        make_job(parent=row.pk, status=status, task=MARKUP)
        for status in ("FAILED", "READY")
    ]
    response = admin_client.get(page(row))
    text = text_of(response)
    failed, ready = children
    assert text.index(f"Ready {ready.pk}") < text.index(f"Failed {failed.pk}")
    assert MARKUP not in response.text
    assert page(other) not in response.text
    assert "all of them" not in text


def test_more_children_than_are_listed(admin_client):
    row = make_job()
    children = [make_job(parent=row.pk) for _ in range(CHILD_LIMIT + 1)]
    response = admin_client.get(page(row))
    assert page(children[0]) not in response.text
    assert all(page(child) in response.text for child in children[1:])
    url = f"{changelist()}?parent={row.pk}"
    assert url in response.text
    assert admin_client.get(url).context["cl"].result_count == CHILD_LIMIT + 1
