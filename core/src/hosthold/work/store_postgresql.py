"""Huey's PostgreSQL store with each queue in a schema of its own, and replies that wake whoever waits for them."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import psycopg
from huey.storage import PostgresStorage
from psycopg import sql
from sqlalchemy import make_url

_SETUP_LOCK = 0x686F7374


class SchemaPostgresStorage(PostgresStorage):  # type: ignore[misc]  # huey ships no types
    """One queue in the schema `queue_<name>`, so that a role can be given one queue and no other."""

    def __init__(self, name: str, url: str, read_timeout: float) -> None:
        self._schema = f"queue_{name}".replace("-", "_")
        self._connections: list[psycopg.Connection[Any]] = []
        self._reply_connections: deque[psycopg.Connection[Any]] = deque()
        dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        super().__init__(
            name,
            dsn=dsn,
            read_timeout=read_timeout,
            table_prefix=self._schema,
            options=f"-csearch_path={self._schema} -csynchronous_commit=off",
        )

    def initialize_schema(self) -> None:
        """Make schema and tables; processes that start together take turns."""
        with self.db(commit=True, close=True) as cursor:
            cursor.execute("select pg_advisory_xact_lock(%s)", (_SETUP_LOCK,))
            cursor.execute("select 1 from pg_namespace where nspname = %s", (self._schema,))
            if cursor.fetchone() is None:
                cursor.execute(sql.SQL("create schema {}").format(sql.Identifier(self._schema)))
            cursor.execute("set local client_min_messages = warning")
            for statement in self.ddl:
                cursor.execute(statement)

    def dequeue(self) -> bytes | None:
        """The next message, waited for. Listens before it looks, so that none slips in between."""
        self._listen_conn()
        data: bytes | None = super().dequeue()
        return data

    def put_data(self, key: str, value: bytes, is_result: bool = False) -> None:
        super().put_data(key, value, is_result)
        if is_result:
            self.sql("select pg_notify(%s, '')", (self._reply_channel(key),))

    def wait_result(self, key: str, timeout: float, **_polling: float) -> bool:
        """Whether the result comes within `timeout` seconds. It wakes the caller: nothing is polled."""
        deadline = time.monotonic() + timeout
        try:
            connection = self._reply_connections.pop()
        except IndexError:
            connection = self._connect()
        connection.execute(sql.SQL("listen {}").format(sql.Identifier(self._reply_channel(key))))
        while not self.has_data_for_key(key):
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                break
            list(connection.notifies(timeout=min(remaining, self.read_timeout), stop_after=1))
        connection.execute("unlisten *")
        self._reply_connections.append(connection)
        return bool(self.has_data_for_key(key))

    def close(self) -> bool:
        """Close every connection, those of other threads too; their threads must have ended."""
        was_open = bool(super().close())
        self._reply_connections.clear()
        while self._connections:
            self._connections.pop().close()
        return was_open

    def _connect(self) -> Any:
        self._connections = [connection for connection in self._connections if not connection.closed]
        connection = super()._connect()
        self._connections.append(connection)
        return connection

    _create_connection = _connect

    def _reply_channel(self, key: str) -> str:
        return f"{self._schema[-24:]}.{key}"
