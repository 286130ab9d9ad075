"""Server-sent events over the real application: what is seen by whom, and when a stream ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hosthold.auth.identity import secret_hash
from hosthold.auth.models import ApiTokenRow
from hosthold.types.identifier import new_identifier
from hosthold.work.models import EventRow
from hosthold.work.outbox import announce
from sqlalchemy import delete, select, update

from .conftest import World, run


class Stream:
    """One open stream, as a client sees it."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.text = ""
        self.arrived = asyncio.Event()
        self.ended = asyncio.Event()
        self.left = asyncio.Event()

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        else:
            self.text += message["body"].decode()
            if not message.get("more_body"):
                self.ended.set()
        self.arrived.set()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line[6:]) for line in self.text.splitlines() if line.startswith("data: ")]

    async def wait_for(self, count: int) -> list[dict[str, Any]]:
        """The events, once there are as many."""
        async with asyncio.timeout(5):
            while len(self.events) < count:
                self.arrived.clear()
                await self.arrived.wait()
        return self.events


@asynccontextmanager
async def follow(world: World, name: str | None, query: str = "", last: str | None = None) -> AsyncIterator[Stream]:
    stream = Stream()
    headers = [(b"host", b"127.0.0.1:8600")]
    if name is not None:
        headers.append((b"authorization", f"Bearer {world.tokens[name]}".encode()))
    if last is not None:
        headers.append((b"last-event-id", last.encode()))
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/v1/events",
        "query_string": query.encode(),
        "headers": headers,
        "client": ("127.0.0.1", 1),
    }

    async def receive() -> dict[str, str]:
        await stream.left.wait()
        return {"type": "http.disconnect"}

    running = asyncio.create_task(world.app(scope, receive, stream.send))
    try:
        async with asyncio.timeout(5):
            await stream.arrived.wait()
        yield stream
    finally:
        stream.left.set()
        async with asyncio.timeout(5):
            await running


def tell(world: World, name: str, subject: str, **payload: Any) -> None:
    with world.platform.database.write() as uow:
        announce(uow, "changed", subject, world.actors[name].account_path, payload)


def site() -> str:
    return f"site:{new_identifier()}"


def test_a_listener_hears_what_happens_below_them_and_nothing_else(world: World) -> None:
    async def scenario() -> None:
        subjects = {name: site() for name in ("alice", "bob", "carol")}
        async with (
            follow(world, "alice") as alice,
            follow(world, "reseller") as reseller,
            follow(world, "root") as root,
        ):
            for name, subject in subjects.items():
                tell(world, name, subject, phase="ready", generation=1)
            (seen,) = await alice.wait_for(1)
            assert {event["subject"] for event in await root.wait_for(3)} == set(subjects.values())
            assert [event["subject"] for event in await reseller.wait_for(1)] == [subjects["carol"]]
            assert [event["subject"] for event in alice.events] == [subjects["alice"]]
        assert seen.keys() == {"sequence", "name", "subject", "at", "phase", "generation"}
        assert (seen["name"], seen["phase"]) == ("changed", "ready")
        assert alice.headers[b"content-type"] == b"text/event-stream"
        assert alice.headers[b"cache-control"] == b"no-store"
        assert world.platform.feed.listeners == 0

    run(scenario())


def test_a_stream_can_be_about_one_subject(world: World) -> None:
    async def scenario() -> None:
        wanted = site()
        async with follow(world, "alice", f"subject={wanted}") as stream:
            tell(world, "alice", site(), phase="ready")
            tell(world, "alice", wanted, phase="failed")
            assert [event["subject"] for event in await stream.wait_for(1)] == [wanted]
        async with follow(world, "alice", "subject=%0a") as refused:
            assert refused.status == 422

    run(scenario())


def test_a_stream_resumes_after_the_last_event_that_was_seen(world: World) -> None:
    async def scenario() -> None:
        async with follow(world, "alice") as stream:
            tell(world, "alice", site(), phase="pending")
            (first,) = await stream.wait_for(1)
        for number in range(600):
            tell(world, "alice", site(), phase="ready", number=number)
        async with follow(world, "alice", last=str(first["sequence"])) as resumed:
            tell(world, "alice", site(), phase="ready", number=600)
            repeated = world.platform.database.dialect == "postgresql"
            numbers = [event.get("number") for event in await resumed.wait_for(602 if repeated else 601)]
            assert numbers == [*([None] if repeated else []), *range(601)]

    run(scenario())


def test_an_event_that_commits_after_later_ones_is_not_lost(world: World) -> None:
    if world.platform.database.dialect == "sqlite":
        pytest.skip("SQLite has one writer: its numbers commit in order")

    async def scenario() -> None:
        async with follow(world, "alice") as stream:
            with world.platform.database.write() as uow:
                announce(uow, "changed", site(), world.actors["alice"].account_path, {"number": 1})
                uow.session.flush()
                tell(world, "alice", site(), number=2)
                assert [event["number"] for event in await stream.wait_for(1)] == [2]
            assert [event["number"] for event in await stream.wait_for(2)] == [2, 1]

    run(scenario())


def test_s44_a_stream_ends_when_its_token_is_revoked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hosthold.web.events.RECHECK_SECONDS", 0.05)

    async def scenario() -> None:
        async with follow(world, "alice") as stream:
            with world.platform.database.write() as uow:
                hashed = secret_hash(world.tokens["alice"])
                uow.session.execute(delete(ApiTokenRow).where(ApiTokenRow.secret_hash == hashed))
            async with asyncio.timeout(2):
                await stream.ended.wait()

    run(scenario())


def test_s44_a_stream_ends_when_its_token_may_no_longer_listen(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hosthold.web.events.RECHECK_SECONDS", 0.05)

    async def scenario() -> None:
        async with follow(world, "alice") as stream:
            with world.platform.database.write() as uow:
                hashed = secret_hash(world.tokens["alice"])
                uow.session.execute(
                    update(ApiTokenRow).where(ApiTokenRow.secret_hash == hashed).values(permissions=["site:read"])
                )
            async with asyncio.timeout(2):
                await stream.ended.wait()

    run(scenario())


def test_events_arrive_although_most_earlier_ones_were_pruned(world: World) -> None:
    tell(world, "alice", site(), number=1)
    with world.platform.database.write() as uow:
        first = uow.session.scalars(select(EventRow)).one()
        late = EventRow(
            sequence=first.sequence + 100_000, id=new_identifier(), at=first.at, name="changed", subject=site(),
            account_path=first.account_path, payload={"number": 2}, is_dispatched=True,
        )  # fmt: skip
        uow.session.add(late)

    async def scenario() -> None:
        async with follow(world, "alice") as stream:
            with world.platform.database.write() as uow:
                following = EventRow(
                    sequence=late.sequence + 1, id=new_identifier(), at=late.at, name="changed", subject=site(),
                    account_path=late.account_path, payload={"number": 3}, is_dispatched=True,
                )  # fmt: skip
                uow.session.add(following)
            assert [event["number"] for event in await stream.wait_for(1)] == [3]

    run(scenario())


def test_streams_end_at_once_when_the_process_stops(world: World) -> None:
    async def scenario() -> None:
        async with follow(world, "alice") as stream:
            world.platform.feed.close()
            async with asyncio.timeout(0.5):
                await stream.ended.wait()

    run(scenario())


def test_a_silent_stream_shows_that_it_is_alive(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hosthold.web.events.HEARTBEAT_SECONDS", 0.02)

    async def scenario() -> None:
        async with follow(world, "alice") as stream:
            async with asyncio.timeout(2):
                while stream.text.count(": still here") < 2:
                    stream.arrived.clear()
                    await stream.arrived.wait()

    run(scenario())


def test_s35_nobody_listens_without_a_token(world: World) -> None:
    async def scenario() -> None:
        async with follow(world, None) as stream:
            assert stream.status == 401
        with world.platform.database.read() as uow:
            assert uow.session.query(EventRow).count() == 0

    run(scenario())
