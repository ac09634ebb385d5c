"""Tasks of Django's own framework, as a third-party app would declare them."""

import django

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
