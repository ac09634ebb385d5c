"""Every ``manage.py`` line in the documentation is one that its command understands."""

from __future__ import annotations

import re
import shlex

import pytest
from django.core.management import BaseCommand, get_commands, load_command_class

from tests.docs.pages import PAGES, ROOT, name_of

pytestmark = pytest.mark.once

OURS = {name for name, app in get_commands().items() if app == "django_bgtasks"}
#: Options that all commands have.
DJANGOS = {*BaseCommand().create_parser("", "")._option_string_actions}

# Up to the end of the line, of the code span or of the quoted text around it. The code
# of ``shell -c`` goes on in other lines.
_LINE = re.compile(r"manage\.py (?P<words>\w+(?: -c \"[^\"]+\"| '[^'\n]*'|[^`\n\"])*)")
_SPAN = re.compile(rf"`(?P<words>(?:{'|'.join(OURS)})(?: [^`\n]*)?)`")
_SYNOPSIS = re.compile(r"^python manage\.py [^`]+?(?=^python|^```)", re.MULTILINE)


def lines(page):
    """Commands with their options, and where they stand; synopses are not lines."""
    text = _SYNOPSIS.sub(_blank, page.read_text(encoding="utf-8"))
    for pattern in (_LINE, _SPAN):
        for match in pattern.finditer(text):
            number = text.count("\n", 0, match.start()) + 1
            yield f"{name_of(page)}:{number}", match["words"]


def parser_of(name):
    parser = load_command_class(get_commands()[name], name).create_parser("", name)
    for action in parser._actions:
        if "--database" in action.option_strings:
            action.choices = None  # theirs, not those of the tests
    return parser


def _blank(match):
    return re.sub(r"[^\n]", " ", match[0])


EVERY_LINE = list(dict.fromkeys(line for page in PAGES for line in lines(page)))


@pytest.mark.parametrize(("place", "words"), EVERY_LINE, ids=lambda text: text)
def test_a_line_is_understood(place, words):
    name, *options = shlex.split(words, comments=True)
    parser_of(name).parse_args(options)


def test_lines_are_found():
    names = {words.split()[0] for _, words in EVERY_LINE}
    assert {"run_tasks", "prune_tasks", "import_celery_beat", "migrate"} <= names


COMMANDS = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
SECTIONS = {
    name: section
    for section in COMMANDS.split("\n## ")[1:]
    for name in section.partition("\n")[0].split(", ")
}
_SYNOPSIS_OR_TABLE = re.compile(r"^(?:python |  |\|).*", re.MULTILINE)


def test_the_reference_has_all_commands():
    assert SECTIONS.keys() == OURS


@pytest.mark.parametrize("name", sorted(OURS))
def test_the_reference_has_all_options(name):
    actions = parser_of(name)._actions
    stated = "\n".join(_SYNOPSIS_OR_TABLE.findall(SECTIONS[name]))
    documented = {*re.findall(r"--[a-z][\w-]+", stated)}
    # Of several names, such as --no-input and --noinput, one is enough.
    ours = [names for a in actions if (names := {*a.option_strings} - DJANGOS)]
    assert [names for names in ours if not names & documented] == []
    assert documented <= DJANGOS.union(*ours)
