"""Where reads and writes run: nothing slow holds up the event loop for long."""

from __future__ import annotations

import threading
import time

from hosthold.db.unit_of_work import UnitOfWork
from hosthold.web.execution import SLOW_SECONDS
from hosthold.web.platform import Platform

from .conftest import run


def where(_uow: UnitOfWork) -> str:
    return threading.current_thread().name


def slow(_uow: UnitOfWork) -> str:
    time.sleep(SLOW_SECONDS * 1.2)
    return threading.current_thread().name


def test_quick_reads_run_inline_and_writes_in_threads(platform: Platform) -> None:
    async def scenario() -> tuple[str, str]:
        return await platform.execution.read(where), await platform.execution.write(where)

    read, write = run(scenario())
    assert read == "MainThread"
    assert write.startswith("hosthold-write")


def test_a_slow_server_is_asked_from_threads_and_an_embedded_database_never(platform: Platform) -> None:
    async def scenario() -> list[str]:
        return [await platform.execution.read(work) for work in (slow, where, where)]

    threads = [name.split("_")[0] for name in run(scenario())]
    expected = "MainThread" if platform.database.dialect == "sqlite" else "hosthold-read"
    assert threads == ["MainThread", expected, expected]
