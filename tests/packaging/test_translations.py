"""The catalogues: whole, correct, and compiled."""

import gettext
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "django_bgtasks"
LANGUAGES = ["zh_Hans"]
REQUIRED = os.environ.get("REQUIRE_GETTEXT", "") not in {"", "0"}

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(
        not REQUIRED and shutil.which("xgettext") is None,
        reason="needs GNU gettext",
    ),
]


@pytest.fixture(scope="module")
def updated(tmp_path_factory):
    """A copy of the package whose catalogues know all texts that are in the code."""
    copy = tmp_path_factory.mktemp("translations") / PACKAGE.name
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "django", "makemessages", "--no-obsolete"]
    for language in LANGUAGES:
        command += ["--locale", language]
    run(*command, cwd=copy)
    return copy


@pytest.mark.parametrize("language", LANGUAGES)
class TestEachLanguage:
    def test_every_text_is_translated(self, updated, language):
        catalogue = po(updated, language)
        for kind in ("--untranslated", "--only-fuzzy"):
            assert messages(run("msgattrib", kind, catalogue)) == []

    def test_there_is_none_that_nobody_says(self, updated, language):
        known = messages(run("msgattrib", "--no-obsolete", po(PACKAGE, language)))
        assert sorted(known) == sorted(messages(po(updated, language).read_text()))

    def test_placeholders_are_those_of_the_text(self, language):
        run("msgfmt", "--check", "--output-file", os.devnull, po(PACKAGE, language))
        with po(PACKAGE, language).with_suffix(".mo").open("rb") as file:
            catalogue = gettext.GNUTranslations(file)._catalog
        for text, translation in catalogue.items():
            # gettext looks at those of texts that depend on a number.
            if isinstance(text, str) and text:
                assert placeholders(translation) == placeholders(text), text

    def test_what_is_compiled_is_what_is_written(self, language, tmp_path):
        made = tmp_path / "django.mo"
        run("msgfmt", "--output-file", made, po(PACKAGE, language))
        catalogues = []
        for path in (made, po(PACKAGE, language).with_suffix(".mo")):
            with path.open("rb") as file:
                catalogues.append(gettext.GNUTranslations(file)._catalog)
        assert catalogues[0] == catalogues[1]


def po(package, language):
    return package / "locale" / language / "LC_MESSAGES" / "django.po"


def run(*command, **options):
    # Django's command needs no project, and would not find this one's settings.
    env = {
        name: os.environ[name] for name in {*os.environ} - {"DJANGO_SETTINGS_MODULE"}
    }
    done = subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        env=env,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def messages(catalogue):
    """The texts of a catalogue, without its header."""
    found = re.findall(
        r'^msgid ((?:".*"\n?)+)', catalogue.replace("\n\n", "\n \n"), re.MULTILINE
    )
    texts = ["".join(re.findall(r'"(.*)"', lines)) for lines in found]
    return [text for text in texts if text]


def placeholders(text):
    named = re.findall(r"%\(\w+\)[sd]|\{\w*(?:[:!][^}]*)?\}|%[sd]", text)
    return {*named}
