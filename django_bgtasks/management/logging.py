"""The log of commands that run until they are stopped."""

from __future__ import annotations

import logging


def show_log(verbosity: int) -> None:
    """Print the log to the terminal, unless the project's LOGGING has a place for it.

    Args:
        verbosity: the command's option: 0 prints nothing, 2 what is for debugging, too.
    """
    logger = logging.getLogger("django_bgtasks")
    if logger.hasHandlers() or verbosity == 0:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(
        logging.Formatter("{asctime} {levelname} {message}", style="{")
    )
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if verbosity > 1 else logging.INFO)
