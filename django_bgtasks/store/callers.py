"""In whose transaction somebody calls."""

from __future__ import annotations

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper


def is_in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Whether what is written now can still be rolled back.

    Not by a ``TestCase``, which wraps each test in a transaction that the code under
    test is not to notice.
    """
    blocks = connection.atomic_blocks
    return any(not getattr(block, "_from_testcase", False) for block in blocks)


def transaction_elsewhere(own: BaseDatabaseWrapper) -> str | None:
    """The database in whose transaction the caller is, if it is not that of ``own``.

    Returns:
        The default one, if it is among several; None if there is none, or if the caller
        is in a transaction of ``own``, too.
    """
    if len(connections.settings) == 1 or is_in_transaction(own):
        return None
    found = [
        connection.alias
        for connection in connections.all(initialized_only=True)
        if connection.alias != own.alias and is_in_transaction(connection)
    ]
    return DEFAULT_DB_ALIAS if DEFAULT_DB_ALIAS in found else next(iter(found), None)
