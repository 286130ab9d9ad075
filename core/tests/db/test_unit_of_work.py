"""The unit of work: all or nothing, bells after the commit, and no driver inside."""

from __future__ import annotations

import threading

import pytest
from hosthold.db.unit_of_work import Database
from hosthold.sites.models import CounterRow

from conftest import RecordingBell


def test_bells_ring_only_after_the_commit(database: Database, bell: RecordingBell) -> None:
    with database.write() as uow:
        uow.ring("site", "a")
        uow.ring("site", "a")
        assert bell.rung == []
    assert bell.rung == [("site", "a")]


def test_an_error_rolls_everything_back_and_no_bell_rings(database: Database, bell: RecordingBell) -> None:
    def fail_half_way() -> None:
        with database.write() as uow:
            uow.session.add(CounterRow(name="x", value=1))
            uow.ring("site", "a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    with database.read() as uow:
        assert uow.session.get(CounterRow, "x") is None
    assert bell.rung == []


def test_a_driver_called_inside_a_transaction_is_a_mistake_that_is_raised(database: Database) -> None:
    driver = database.registry.driver("runtime", "php")
    with database.write(), pytest.raises(RuntimeError, match="inside a transaction"):
        driver.check()


def test_writers_wait_for_each_other_and_none_is_refused(database: Database) -> None:
    with database.write() as uow:
        uow.session.add(CounterRow(name="x", value=0))

    def count() -> None:
        for _ in range(25):
            with database.write() as uow:
                row = uow.session.get_one(CounterRow, "x", with_for_update=True)
                row.value += 1

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as uow:
        assert uow.session.get_one(CounterRow, "x").value == 100


def test_a_reader_does_not_wait_for_a_writer(database: Database) -> None:
    with database.write() as writer:
        writer.session.add(CounterRow(name="y", value=1))
        writer.session.flush()
        with database.read() as reader:
            assert reader.session.get(CounterRow, "y") is None
