"""Engines for SQLite and PostgreSQL, set up so that readers never wait for a writer."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

WRITES = "hosthold_writes"
"""The execution option that marks a transaction which will write."""


def make_engine(url: str) -> Engine:
    """An engine for `url`; SQLite gets WAL, foreign keys, and `BEGIN IMMEDIATE` for units of work that write.

    A deferred transaction that reads first and then writes fails with "database is locked" whatever the timeout,
    so a writer asks for the lock at once.
    """
    if url.startswith("sqlite"):
        engine = create_engine(
            url,
            poolclass=QueuePool,
            pool_size=8,
            max_overflow=8,
            connect_args={"timeout": 30, "check_same_thread": False},
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    # A server that is gone must not hold a request for as long as TCP would wait for it.
    patience = {"connect_timeout": 5, "tcp_user_timeout": 10_000}
    return create_engine(url, pool_size=8, max_overflow=8, pool_pre_ping=True, connect_args=patience)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=wal",
        "synchronous=normal",
        "foreign_keys=on",
        "temp_store=memory",
        "mmap_size=134217728",
    ):
        cursor.execute(f"pragma {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    if connection.get_execution_options().get(WRITES):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
