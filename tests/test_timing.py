"""The time for those who enqueue."""

from contextlib import suppress
from datetime import timedelta

from django.utils import timezone

from django_bgtasks import timing


def test_it_can_be_stopped():
    moment = timezone.now() + timedelta(days=1)
    with timing.stopped_at(moment):
        assert timing.now() == timing.now() == moment
        with timing.stopped_at(moment - timedelta(days=2)):
            assert timing.now() == moment - timedelta(days=2)
        assert timing.now() == moment


def test_it_goes_on_after_an_error():
    moment = timezone.now() + timedelta(days=1)
    with suppress(ValueError), timing.stopped_at(moment):
        raise ValueError
    assert timing.now() < moment - timedelta(hours=23)
