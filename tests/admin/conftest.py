"""People with and without permissions."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client


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
