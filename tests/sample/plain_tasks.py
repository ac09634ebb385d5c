"""Tasks of Django's own framework, as a third-party app would declare them."""

import django
from django.views.decorators.debug import sensitive_variables

if django.VERSION >= (6, 0):
    from django.tasks import task

    BACKENDS = "django.tasks.backends"
else:
    from django_tasks import task

    BACKENDS = "django_tasks.backends"

IMMEDIATE = f"{BACKENDS}.immediate.ImmediateBackend"
DUMMY = f"{BACKENDS}.dummy.DummyBackend"


def double(n):
    return n * 2


def declare(**options):
    return task(**options)(double)


@task
def plain(n):
    return n * 2


@task
@sensitive_variables("password")
def change_password(user, password):
    raise ValueError(f"{user} has no {password}")
