"""Engines for SQLite and PostgreSQL, set up so that readers never wait for a writer."""

from __future__ import annotations

import time
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import QueuePool

WRITES = "hosthold_writes"
"""The execution option that marks a transaction which will write."""
IDLE_SECONDS = 1.0
"""How long a connection to a server may have been idle and still be used without asking whether it lives.

Asking every time takes as long as a page of sites does (`docs/benchmarks.md`).
"""
_JSON: dict[str, Any] = {
    "json_serializer": lambda value: orjson.dumps(value).decode(),
    "json_deserializer": orjson.loads,
}


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
            **_JSON,
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    # A server that is gone must not hold a request for as long as TCP would wait for it.
    patience = {"connect_timeout": 5, "tcp_user_timeout": 10_000}
    engine = create_engine(url, pool_size=8, max_overflow=8, connect_args=patience, **_JSON)
    event.listen(engine, "checkin", _note_use)
    event.listen(engine, "checkout", lambda connection, record, _: _ask_if_idle(engine, connection, record))
    return engine


def _note_use(_connection: Any, record: Any) -> None:
    record.info["used_at"] = time.monotonic()


def _ask_if_idle(engine: Engine, connection: Any, record: Any) -> None:
    """Let the pool replace a connection that a restarted server has ended, before anybody's statement fails on it."""
    if time.monotonic() - record.info.get("used_at", 0.0) > IDLE_SECONDS:
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError from error


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
