import pytest

from django_bgtasks.models import Queue
from django_bgtasks.store import queues
from tests.admin.pages import (
    MARKUP,
    act,
    cells,
    changelist,
    delete,
    field,
    local,
    log_entries,
    page,
    said,
    text_of,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def mail():
    return Queue.objects.create(name="mail")


@pytest.fixture
def paused():
    queues.pause("slow")
    return Queue.objects.get(name="slow")


def paused_names():
    return set(Queue.objects.exclude(paused_at=None).values_list("name", flat=True))


def test_without_queues_there_is_a_page_too(admin_client):
    assert "0 queues" in text_of(admin_client.get(changelist("queue")))


def test_the_list_says_what_is_paused(admin_client, mail, paused):
    response = admin_client.get(changelist("queue"))
    assert cells(response, "name") == ["mail", "slow"]
    assert cells(response, "state") == ["Active", "Paused"]
    since = local(paused.paused_at).strftime("%Y-%m-%d %H:%M:%S")
    assert cells(response, "paused_since") == ["-", since]


def test_pause(admin_client, mail, paused):
    response = act(admin_client, "pause_selected", [mail, paused], model="queue")
    assert said(response) == [
        "1 queue was paused.",
        "1 queue had been paused before.",
    ]
    assert paused_names() == {"mail", "slow"}
    # Since when it has been paused is not forgotten.
    assert Queue.objects.get(name="slow").paused_at == paused.paused_at
    assert log_entries() == {("mail", "Change", "Paused.")}


def test_resume(admin_client, mail, paused):
    response = act(admin_client, "resume_selected", [mail, paused], model="queue")
    assert said(response) == ["1 queue was resumed.", "1 queue was not paused."]
    assert paused_names() == set()
    assert log_entries() == {("slow", "Change", "Resumed.")}


def test_a_queue_is_added_by_name_only(admin_client):
    add = changelist("queue") + "add/"
    assert "paused" not in admin_client.get(add).content.decode().lower()
    data = {"name": "new", "paused_at_0": "2020-01-01", "paused_at_1": "00:00"}
    assert admin_client.post(add, data).status_code == 302
    assert Queue.objects.get().paused_at is None
    assert "already exists" in text_of(admin_client.post(add, data))
    act(admin_client, "pause_selected", Queue.objects.all(), model="queue")
    assert paused_names() == {"new"}


def test_nothing_can_be_edited(admin_client, mail):
    response = admin_client.get(page(mail))
    assert field(response, "state") == "Active"
    assert 'name="_save"' not in response.content.decode()
    data = {"name": "other", "paused_at_0": "2020-01-01", "paused_at_1": "00:00"}
    assert admin_client.post(page(mail), data).status_code == 403
    assert Queue.objects.get().paused_at is None


def test_a_paused_queue_cannot_be_deleted(admin_client, mail, paused):
    """It would not be paused any more."""
    response = act(admin_client, "delete_selected", [mail, paused], model="queue")
    assert list(response.context["queryset"]) == [mail]
    response = delete(admin_client, [mail, paused], model="queue")
    assert said(response) == [
        "1 paused queue cannot be deleted. Resume it first.",
        "Successfully deleted 1 queue.",
    ]
    act(admin_client, "delete_selected", [paused], model="queue")
    assert admin_client.post(page(paused, "delete"), {"post": "yes"}).status_code == 403
    assert list(Queue.objects.all()) == [paused]


@pytest.mark.parametrize(
    ("permission", "actions"),
    [
        ("view_queue", set()),
        ("change_queue", {"pause_selected", "resume_selected"}),
        ("delete_queue", {"delete_selected"}),
    ],
)
def test_each_action_needs_its_permission(member, mail, paused, permission, actions):
    client = member("view_queue", *({permission} - {"view_queue"}))
    html = client.get(changelist("queue")).content.decode()
    every = {"pause_selected", "resume_selected", "delete_selected"}
    assert {a for a in every if f'value="{a}"' in html} == actions
    for action in every - actions:
        act(client, action, [mail, paused], model="queue")
    if "delete_selected" not in actions:
        delete(client, [mail], model="queue")
    assert paused_names() == {"slow"}
    assert Queue.objects.count() == 2
    assert client.get(changelist("queue") + "add/").status_code == 403


def test_staff_without_permissions_see_nothing(member, mail):
    client = member()
    assert client.get(changelist("queue")).status_code == 403
    assert client.get(page(mail)).status_code == 403


def test_a_name_is_text(admin_client):
    Queue.objects.create(name=MARKUP)
    response = admin_client.get(changelist("queue"))
    assert "<script>alert" not in response.content.decode()
    assert cells(response, "name") == [MARKUP]
