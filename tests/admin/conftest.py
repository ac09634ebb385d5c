"""People with and without permissions."""

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client

from django_bgtasks.models import Job, Queue, Schedule, Worker


@pytest.fixture(autouse=True)
def _known_content_types(request):
    """No page's queries are counted with those for what the last flush forgot."""
    if any("num_queries" in name for name in request.fixturenames):
        request.getfixturevalue("db")
        ContentType.objects.get_for_models(Job, Queue, Schedule, Worker)


@pytest.fixture
def member(db):
    """Clients of members of the staff who have these permissions and no others."""

    def log_in(*codenames):
        user = User.objects.create_user(f"can {codenames}", is_staff=True)
        wanted = Permission.objects.filter(
            content_type__app_label="django_bgtasks", codename__in=codenames
        )
        assert len(wanted) == len(codenames)
        user.user_permissions.set(wanted)
        client = Client()
        client.force_login(user)
        return client

    return log_in
