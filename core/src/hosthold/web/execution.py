"""Where work runs: what may wait never waits on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from hosthold.db.unit_of_work import Database, UnitOfWork

T = TypeVar("T")


class Execution:
    """Runs transactions and blocking calls for the event loop.

    Reads of SQLite run inline: a hop to a thread costs more than the query, and threads convoy on the interpreter
    lock. Its writes take one thread, for they wait for the one writer's lock. PostgreSQL gets a few threads for
    either, since each statement is a wait for another process.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        is_embedded = database.dialect == "sqlite"
        self._readers = None if is_embedded else ThreadPoolExecutor(4, "hosthold-read")
        self._writers = ThreadPoolExecutor(1 if is_embedded else 4, "hosthold-write")
        self._others = ThreadPoolExecutor(4, "hosthold-wait")

    async def read(self, work: Callable[[UnitOfWork], T]) -> T:
        """Run `work` in a unit of work that only reads."""
        if self._readers is None:
            with self._database.read() as uow:
                return work(uow)

        def run() -> T:
            with self._database.read() as uow:
                return work(uow)

        return await asyncio.get_running_loop().run_in_executor(self._readers, run)

    async def write(self, work: Callable[[UnitOfWork], T]) -> T:
        """Run `work` in a unit of work that may write, and commit it; when this returns, it is stored."""

        def run() -> T:
            with self._database.write() as uow:
                return work(uow)

        return await asyncio.get_running_loop().run_in_executor(self._writers, run)

    async def wait(self, work: Callable[[], T]) -> T:
        """Run something that takes long and holds no transaction: hashing a password, asking a node."""
        return await asyncio.get_running_loop().run_in_executor(self._others, work)

    def close(self) -> None:
        """Let what runs finish, and start nothing more."""
        for executor in (self._readers, self._writers, self._others):
            if executor is not None:
                executor.shutdown(wait=True, cancel_futures=True)
