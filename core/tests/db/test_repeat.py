"""Transactions that the database gives up are done again, and only where it is certain that nothing was stored."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hosthold.db.repeat import REPEATS, repeated
from hosthold.db.unit_of_work import Database
from hosthold.plugins.manager import PluginRegistry
from hosthold.settings import DatabaseSettings, Settings
from hosthold.sites.models import CounterRow
from hosthold_sdk.testing.platform import Clock
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from conftest import PostgreSQL, RecordingBell


@pytest.fixture
def server(
    settings: Settings, postgresql: PostgreSQL, registry: PluginRegistry, bell: RecordingBell, clock: Clock
) -> Iterator[Database]:
    """A database on a server, with two counters."""
    url = DatabaseSettings(url=postgresql.new_database())
    opened = Database(settings.model_copy(update={"database": url}), registry, bell, clock)
    with opened.write() as uow:
        uow.session.add_all([CounterRow(name="a", value=0), CounterRow(name="b", value=0)])
    yield opened
    opened.close()


def _values(database: Database) -> list[int]:
    with database.read() as uow:
        return [uow.session.get_one(CounterRow, name).value for name in "ab"]


def _cut(database: Database, pid: int) -> None:
    with database.engine.connect() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})


def test_r14_of_two_that_wait_for_each_other_both_are_stored(server: Database) -> None:
    both_hold_one = threading.Barrier(2)
    attempts: list[str] = []

    def count(first: str, second: str) -> None:
        def transaction() -> None:
            attempts.append(first)
            is_first_time = attempts.count(first) == 1
            with server.write() as uow:
                uow.session.get_one(CounterRow, first, with_for_update=True).value += 1
                uow.session.flush()
                if is_first_time:
                    both_hold_one.wait(10)
                uow.session.get_one(CounterRow, second, with_for_update=True).value += 1

        repeated(transaction)

    threads = [threading.Thread(target=count, args=names) for names in ("ab", "ba")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(attempts) == 3
    assert _values(server) == [2, 2]


@pytest.mark.parametrize("is_writer", [True, False])
def test_r13_a_connection_that_is_cut_in_a_transaction_leaves_nothing_and_it_is_done_again(
    server: Database, bell: RecordingBell, is_writer: bool
) -> None:
    cuts = [1]

    def transaction() -> int:
        with server.write() if is_writer else server.read() as uow:
            pid = uow.session.scalar(text("SELECT pg_backend_pid()"))
            row = uow.session.get_one(CounterRow, "a")
            if is_writer:
                row.value += 1
                uow.session.flush()
                uow.ring("site", "a")
            if cuts and cuts.pop():
                _cut(server, pid or 0)
            return uow.session.scalar(text("SELECT value FROM counter WHERE name = 'a'")) or 0

    assert repeated(transaction) == is_writer
    assert _values(server) == [int(is_writer), 0]
    assert bell.rung == ([("site", "a")] if is_writer else [])


def test_r13_nothing_is_done_twice_after_a_connection_was_cut_in_its_commit(server: Database) -> None:
    attempts = []

    def transaction() -> None:
        with server.write() as uow:
            attempts.append(1)
            uow.session.get_one(CounterRow, "a").value += 1
            uow.session.flush()
            _cut(server, uow.session.scalar(text("SELECT pg_backend_pid()")) or 0)

    with pytest.raises(DBAPIError):
        repeated(transaction)
    assert len(attempts) == 1


def test_a_transaction_that_is_always_given_up_ends_with_the_error(server: Database) -> None:
    attempts = []

    def transaction() -> None:
        attempts.append(1)
        with server.write() as uow:
            _cut(server, uow.session.scalar(text("SELECT pg_backend_pid()")) or 0)
            uow.session.get_one(CounterRow, "a")

    with pytest.raises(DBAPIError):
        repeated(transaction)
    assert len(attempts) == 1 + REPEATS
