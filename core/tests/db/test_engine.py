"""Engines, and what their pools do when a server ends its connections."""

from __future__ import annotations

import pytest
from hosthold.db import engine as engines
from sqlalchemy import text

from conftest import PostgreSQL


def test_a_connection_that_the_server_ended_while_it_was_idle_is_replaced(
    postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "IDLE_SECONDS", 0.0)
    engine = engines.make_engine(postgresql.new_database())
    with engine.connect() as connection:
        ended = connection.scalar(text("SELECT pg_backend_pid()"))

    postgresql.execute("postgres", f"SELECT pg_terminate_backend({ended}, 5000)")

    with engine.connect() as connection:
        assert connection.scalar(text("SELECT pg_backend_pid()")) != ended
    engine.dispose()


def test_a_connection_that_was_just_used_is_used_again_without_asking(
    postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "IDLE_SECONDS", 60.0)
    engine = engines.make_engine(postgresql.new_database())
    with engine.connect() as connection:
        first = connection.scalar(text("SELECT pg_backend_pid()"))

    monkeypatch.setattr(engine.dialect, "do_ping", lambda _: pytest.fail("the server was asked"))

    with engine.connect() as connection:
        assert connection.scalar(text("SELECT pg_backend_pid()")) == first
    engine.dispose()
