"""Doing a transaction again that the database gave up: it chose a victim of a deadlock, or the connection was cut."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from sqlalchemy.exc import DBAPIError

REPEATS = 3
_LONGEST_PAUSE = 0.05
_CONFLICTS = ("40001", "40P01")
"""SQLSTATE of a serialization failure and of a deadlock (PostgreSQL's manual, appendix A): nothing was stored."""

T = TypeVar("T")

log = structlog.get_logger()


def repeated(transaction: Callable[[], T]) -> T:
    """The result of a transaction; it is done up to REPEATS times more while the database gives it up.

    It is only done again where it is certain that nothing was stored: a connection that is lost during the commit
    itself leaves that open, and the error is raised. The transaction must have no effect but through the database.
    """
    for _ in range(REPEATS):
        try:
            return transaction()
        except DBAPIError as error:
            if not _stored_nothing(error):
                raise
            log.warning("transaction repeated", cause=type(error.orig).__name__)
            time.sleep(random.uniform(0, _LONGEST_PAUSE))
    return transaction()


def _stored_nothing(error: DBAPIError) -> bool:
    if getattr(error.orig, "sqlstate", None) in _CONFLICTS:
        return True
    was_commit = error.statement is None
    return error.connection_invalidated and not was_commit
