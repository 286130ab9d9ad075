"""Where work runs: what may wait long never waits on the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from hosthold.db.repeat import repeated
from hosthold.db.unit_of_work import Database, UnitOfWork

SLOW_SECONDS = 0.05
"""A read that takes longer shows that the database is slow at present."""
WARY_SECONDS = 10.0
"""How long reads then keep off the event loop."""

T = TypeVar("T")


class Execution:
    """Runs transactions and blocking calls for the event loop.

    Reads run inline while they are quick: a hop to a thread costs more than the query, and on SQLite threads convoy on
    the interpreter lock (measured: a page of 20 sites takes 0.64 ms inline and 0.78 ms in a thread on PostgreSQL). A
    server that answers slowly is asked from threads for a while, so that the rest of the process does not wait for it.
    Writes always take a thread, for they wait for locks: one for SQLite's one writer, a few for PostgreSQL.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        is_embedded = database.dialect == "sqlite"
        self._is_embedded = is_embedded
        self._wary_until = 0.0
        self._readers = ThreadPoolExecutor(4, "hosthold-read")
        self._writers = ThreadPoolExecutor(1 if is_embedded else 4, "hosthold-write")
        self._others = ThreadPoolExecutor(4, "hosthold-wait")

    async def read(self, work: Callable[[UnitOfWork], T]) -> T:
        """Run `work` in a unit of work that only reads; again, if the database gave it up."""

        def run() -> T:
            with self._database.read() as uow:
                return work(uow)

        started = time.monotonic()
        if self._wary_until > started:
            return await asyncio.get_running_loop().run_in_executor(self._readers, repeated, run)
        try:
            return repeated(run)
        finally:
            ended = time.monotonic()
            if not self._is_embedded and ended - started > SLOW_SECONDS:
                self._wary_until = ended + WARY_SECONDS

    async def write(self, work: Callable[[UnitOfWork], T]) -> T:
        """Run `work` in a unit of work that may write, and commit it; when this returns, it is stored.

        It is run again if the database gave it up, so it has no effect but through the unit of work.
        """

        def run() -> T:
            with self._database.write() as uow:
                return work(uow)

        return await asyncio.get_running_loop().run_in_executor(self._writers, repeated, run)

    async def wait(self, work: Callable[[], T]) -> T:
        """Run something that takes long and holds no transaction, such as hashing a password."""
        return await asyncio.get_running_loop().run_in_executor(self._others, work)

    def close(self) -> None:
        """Let what runs finish, and start nothing more."""
        for executor in (self._readers, self._writers, self._others):
            executor.shutdown(wait=True, cancel_futures=True)
