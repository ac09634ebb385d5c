"""Asking before something is done that cannot be undone."""

from __future__ import annotations

from django.core.management.base import CommandError, CommandParser


def add_no_input(parser: CommandParser) -> None:
    """The option not to be asked."""
    parser.add_argument(
        "--no-input",
        "--noinput",
        action="store_false",
        dest="interactive",
        help="Do not ask, do it.",
    )


def confirm(question: str) -> None:
    """Ask ``question`` on the terminal.

    Raises:
        CommandError: the answer is no, or there is nobody to ask.
    """
    try:
        answer = input(f"{question} Go on? [y/N] ")
    except EOFError:
        raise CommandError(
            f"{question} There is nobody to ask whether to go on: use --no-input."
        ) from None
    if answer.strip().lower() not in ("y", "yes"):
        raise CommandError("Nothing was done.")
