import sys
from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_bgtasks.conf import DEFAULT_RETENTION, get_settings
from django_bgtasks.exceptions import InvalidSetting, UnknownSetting
from django_bgtasks.store.health import Thresholds

pytestmark = pytest.mark.once


def test_nothing_need_be_set():
    settings = get_settings()
    assert settings.max_attempts == 3
    assert settings.timeout is None
    assert settings.retention == DEFAULT_RETENTION


def test_changed_settings_are_read_again():
    with override_settings(BGTASKS={"MAX_ATTEMPTS": 7, "TIMEOUT": 90}):
        assert get_settings().max_attempts == 7
        assert get_settings().timeout == timedelta(seconds=90)
    assert get_settings().max_attempts == 3


def test_an_unknown_key_is_refused_with_a_suggestion(settings):
    settings.BGTASKS = {"MAX_ATEMPTS": 7}
    with pytest.raises(UnknownSetting, match="'MAX_ATEMPTS'.*mean 'MAX_ATTEMPTS'"):
        get_settings()


def test_without_a_likely_one_all_keys_are_named(settings):
    settings.BGTASKS = {"X": 7}
    with pytest.raises(
        UnknownSetting,
        match=r"one of: DATABASE, ENCODER, HEALTH, HEARTBEAT_TIMEOUT, IMPORTS, INTERRUPT_GRACE, LISTEN, .*",
    ):
        get_settings()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MAX_ATTEMPTS", 0),
        ("MAX_ATTEMPTS", "3"),
        ("MAX_ATTEMPTS", True),
        ("TIMEOUT", 0),
        ("TIMEOUT", "1m"),
        ("THREADS", -1),
        ("POLL_INTERVAL", None),
        ("TOKEN", "too short"),
        ("TOKEN", "it is long enough, but"),
        ("TOKEN", ["a-token-of-some-length", 7]),
        ("TOKEN", 12345678901234567890),
        ("HEALTH", 5),
        ("HEALTH", {"min_workers": -1}),
        ("HEALTH", {"min_workers": True}),
        ("HEALTH", {"max_age": "an hour"}),
        ("IMPORTS", "shop.jobs"),
        ("ENCODER", "rich"),
        ("ENCODER", dict),
        ("RETENTION", 5),
        ("RETENTION", {"DONE": 5}),
        ("RETENTION", {"FAILED": "a week"}),
        ("RETENTION", {"FAILED": timedelta(days=1_000_000)}),
    ],
)
def test_a_wrong_value_is_refused_by_name(settings, key, value):
    settings.BGTASKS = {key: value}
    with pytest.raises(InvalidSetting, match=key):
        get_settings()


def test_the_setting_must_be_a_dict(settings):
    settings.BGTASKS = ["MAX_ATTEMPTS"]
    with pytest.raises(ImproperlyConfigured, match="must be a dict"):
        get_settings()


def test_retention_is_merged_by_status(settings):
    settings.BGTASKS = {"RETENTION": {"FAILED": None}}
    assert get_settings().retention == {**DEFAULT_RETENTION, "FAILED": None}


def test_there_may_be_one_token_some_or_none(settings):
    assert get_settings().token == ()
    for given, tokens in (
        ("a" * 20, ("a" * 20,)),
        (["a" * 20, "b" * 20], ("a" * 20, "b" * 20)),
        (None, ()),
    ):
        settings.BGTASKS = {"TOKEN": given}
        assert get_settings().token == tokens
        assert "aaa" not in repr(get_settings())


def test_a_token_that_is_too_short_is_not_told(settings):
    settings.BGTASKS = {"TOKEN": "hunter2"}
    with pytest.raises(InvalidSetting, match=r"at least 20 characters") as raised:
        get_settings()
    assert "hunter2" not in str(raised.value)


def test_a_key_in_lower_case_is_told_the_right_one(settings):
    settings.BGTASKS = {"max_attempts": 5}
    with pytest.raises(UnknownSetting, match="Did you mean 'MAX_ATTEMPTS'"):
        get_settings()


def test_attempts_without_end_are_more_than_a_row_can_hold(settings):
    settings.BGTASKS = {"MAX_ATTEMPTS": sys.maxsize}
    with pytest.raises(InvalidSetting, match="at most 2,147,483,647"):
        get_settings()


def test_thresholds_are_read(settings):
    settings.BGTASKS = {
        "HEALTH": {"max_age": 600, "min_workers": 0, "max_failed": None}
    }
    assert get_settings().health == {
        "max_age": timedelta(minutes=10),
        "min_workers": 0,
        "max_failed": None,
    }


def test_the_thresholds_are_those_of_the_store(settings):
    names = Thresholds.__dataclass_fields__
    settings.BGTASKS = {"HEALTH": dict.fromkeys(names)}
    assert Thresholds(**get_settings().health) == Thresholds()


def test_an_unknown_threshold_is_refused_with_a_suggestion(settings):
    settings.BGTASKS = {"HEALTH": {"min_worker": 1}}
    with pytest.raises(InvalidSetting, match=r"Did you mean 'min_workers'"):
        get_settings()
