"""Server-sent events: what changed in the actor's part of the account tree, as it happens.

One poller reads the table of events for all listeners of a process, and only while there is one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import orjson
import structlog
from sqlalchemy import Row, bindparam, or_, select

from hosthold.auth.identity import Identity
from hosthold.db.base import below
from hosthold.db.unit_of_work import UnitOfWork
from hosthold.web.authentication import Authenticator
from hosthold.web.execution import Execution
from hosthold.work.models import EventRow

POLL_SECONDS = 0.15
HEARTBEAT_SECONDS = 15.0
RECHECK_SECONDS = 4.0
"""How often it is asked whether a listener's token or session still holds."""
GAP_SECONDS = 30.0
"""How long a missing sequence number is waited for: its transaction may commit late, or never."""
TRAIL = 200
"""Sequence numbers before the last one that are looked at again where transactions commit out of order."""
BATCH = 500

_COLUMNS = (EventRow.sequence, EventRow.at, EventRow.name, EventRow.subject, EventRow.account_path, EventRow.payload)
_NEW = (
    select(*_COLUMNS)
    .where(or_(EventRow.sequence > bindparam("last"), EventRow.sequence.in_(bindparam("missing", expanding=True))))
    .order_by(EventRow.sequence)
    .limit(BATCH)
)
_LATEST = select(EventRow.sequence).order_by(EventRow.sequence.desc()).limit(TRAIL)
_MISSED = (
    select(*_COLUMNS)
    .where(
        EventRow.sequence > bindparam("after"),
        EventRow.account_path >= bindparam("start"),
        EventRow.account_path < bindparam("end"),
    )
    .order_by(EventRow.sequence)
    .limit(BATCH)
)

log = structlog.get_logger()


@dataclass(eq=False)
class Listener:
    """One open stream: whose part of the tree it shows, and of which subject only."""

    account_path: str
    subject: str | None
    queue: asyncio.Queue[Row[Any] | None] = field(default_factory=lambda: asyncio.Queue(1000))

    def offer(self, row: Row[Any]) -> None:
        """Give it an event if it is for this listener; one that does not keep up is ended, and may resume."""
        if row.account_path.startswith(self.account_path) and self.subject in (None, row.subject):
            if self.queue.full():
                self.end()
            else:
                self.queue.put_nowait(row)

    def end(self) -> None:
        """End the stream at once."""
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(None)


class EventFeed:
    """Hands new events to all open streams of this process."""

    def __init__(self, execution: Execution, dialect: Literal["sqlite", "postgresql"]) -> None:
        self._execution = execution
        self._resume_margin = TRAIL if dialect == "postgresql" else 0
        self._listeners: set[Listener] = set()
        self._poller: asyncio.Task[None] | None = None
        self._is_closed = False
        self._last = 0
        self._missing: dict[int, float] = {}

    @property
    def listeners(self) -> int:
        """How many streams are open."""
        return len(self._listeners)

    @property
    def is_closed(self) -> bool:
        """Whether the process is about to stop, so that streams shall end."""
        return self._is_closed

    def close(self) -> None:
        """End all streams, so that the process can stop without waiting for them."""
        self._is_closed = True
        for listener in self._listeners:
            listener.end()

    async def follow(
        self, identity: Identity, authenticator: Authenticator, subject: str | None, last_event_id: int | None
    ) -> AsyncGenerator[bytes, None]:
        """Open a stream for this caller, beginning after the event that they name, else with what happens from now on.

        It ends when the caller's token or session does, when the process stops, and when the reader does not keep up.
        On PostgreSQL an event may be repeated after resuming, because transactions commit out of order.
        """
        listener = Listener(identity.actor.account_path, subject)
        await self._begin()
        self._listeners.add(listener)
        if self._is_closed:
            listener.end()
        return self._stream(listener, identity, authenticator, last_event_id)

    async def _stream(
        self, listener: Listener, identity: Identity, authenticator: Authenticator, last_event_id: int | None
    ) -> AsyncGenerator[bytes, None]:
        try:
            yield b"retry: 1000\n\n"
            sent: set[int] = set()
            recheck = time.monotonic() + RECHECK_SECONDS
            if last_event_id is not None:
                async for row in self._missed(listener, max(0, last_event_id - self._resume_margin)):
                    if time.monotonic() >= recheck:
                        if not await _may_listen(identity, authenticator):
                            return
                        recheck = time.monotonic() + RECHECK_SECONDS
                    sent.add(row.sequence)
                    yield encode(row)
            heartbeat = time.monotonic() + HEARTBEAT_SECONDS
            while True:
                now = time.monotonic()
                if now >= recheck:
                    if not await _may_listen(identity, authenticator):
                        return
                    recheck = now + RECHECK_SECONDS
                if now >= heartbeat:
                    yield b": still here\n\n"
                    heartbeat = now + HEARTBEAT_SECONDS
                try:
                    async with asyncio.timeout(max(0.0, min(recheck, heartbeat) - now)):
                        row_or_end = await listener.queue.get()
                except TimeoutError:
                    continue
                if row_or_end is None:
                    return
                if row_or_end.sequence not in sent:
                    yield encode(row_or_end)
        finally:
            self._listeners.discard(listener)

    async def _missed(self, listener: Listener, after: int) -> AsyncIterator[Row[Any]]:
        start, end = below(listener.account_path)
        while True:
            read = partial(_read_missed, after=after, start=start, end=end)
            rows = await self._execution.read(read)
            for row in rows:
                if listener.subject in (None, row.subject):
                    yield row
            if len(rows) < BATCH:
                return
            after = rows[-1].sequence

    async def _begin(self) -> None:
        """Start polling from what is there now, unless it runs already."""
        if self._poller is None or self._poller.done():
            known = await self._execution.read(lambda uow: set(uow.connection.execute(_LATEST).scalars()))
            if self._poller is None or self._poller.done():
                self._last = max(known, default=0)
                first = max(min(known, default=1), self._last - TRAIL)  # what lies below was pruned, not delayed
                self._missing = dict.fromkeys(set(range(first, self._last)) - known, time.monotonic())
                self._poller = asyncio.create_task(self._poll())

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if not self._listeners or self._is_closed:
                return
            try:
                rows = await self._execution.read(self._new_rows)
            except Exception:
                log.exception("events could not be read")
                continue
            self._note(rows)
            for row in rows:
                for listener in tuple(self._listeners):
                    listener.offer(row)

    def _new_rows(self, uow: UnitOfWork) -> Sequence[Row[Any]]:
        return uow.connection.execute(_NEW, {"last": self._last, "missing": list(self._missing)}).fetchall()

    def _note(self, rows: Sequence[Row[Any]]) -> None:
        """Remember how far we are, and which numbers were passed over and may still come."""
        now = time.monotonic()
        for row in rows:
            if row.sequence > self._last:
                skipped = range(max(self._last + 1, row.sequence - TRAIL), row.sequence)
                self._missing.update(dict.fromkeys(skipped, now))
                self._last = row.sequence
            else:
                self._missing.pop(row.sequence, None)
        self._missing = {number: since for number, since in self._missing.items() if now - since < GAP_SECONDS}


async def _may_listen(identity: Identity, authenticator: Authenticator) -> bool:
    present = await authenticator.is_still_valid(identity)
    return present is not None and present.actor.may("event:read")


def _read_missed(uow: UnitOfWork, *, after: int, start: str, end: str) -> Sequence[Row[Any]]:
    return uow.connection.execute(_MISSED, {"after": after, "start": start, "end": end}).fetchall()


def encode(row: Row[Any]) -> bytes:
    """One event in the form of `text/event-stream`; a JSON text has no line break of its own."""
    data = orjson.dumps(
        {**row.payload, "sequence": row.sequence, "name": row.name, "subject": row.subject, "at": row.at}
    )
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (row.sequence, row.name.encode(), data)
