"""Tasks of Django's own framework, as a third-party app would declare them."""

import django
from django.views.decorators.debug import sensitive_variables

if django.VERSION >= (6, 0):
    from django.tasks import task

    IMMEDIATE = "django.tasks.backends.immediate.ImmediateBackend"
else:
    from django_tasks import task

    IMMEDIATE = "django_tasks.backends.immediate.ImmediateBackend"


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
