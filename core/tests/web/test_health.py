"""Health and metrics: what monitoring sees, and what strangers do."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import httpx
import pytest
from hosthold.web.peer import uid_at
from hosthold.work.keys import key_file
from hosthold.work.queue import WORKER
from sqlalchemy import text

from .conftest import World, run


def ask(world: World, path: str, client: str = "127.0.0.1", **headers: str) -> httpx.Response:
    """The answer to a program of this user, which really holds a connection: the kernel is asked whose it is."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as connection:
        port, client_port = server.getsockname()[1], connection.getsockname()[1]

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(world.app, client=(client, client_port))
            async with httpx.AsyncClient(transport=transport, base_url=f"http://127.0.0.1:{port}") as session:
                return await session.get(path, headers=headers)

        return run(send())


def test_a_platform_whose_parts_answer_is_ready(world: World) -> None:
    answer = ask(world, "/health/ready")
    parts = {part["part"]: part["status"] for part in answer.json()["parts"]}
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    assert {parts[name] for name in ("database", "migrations", "queue")} == {"ok"}
    assert ask(world, "/health/live").json() == {"status": "alive"}


def test_old_tables_or_a_lost_key_make_it_unready_and_say_what_to_do(world: World) -> None:
    with world.platform.database.write() as uow:
        uow.connection.execute(text("UPDATE alembic_version SET version_num = 'older'"))
    Path(key_file(world.platform.settings, WORKER)).unlink()
    answer = ask(world, "/health/ready")
    failed = {part["part"]: part["hint"] for part in answer.json()["parts"] if part["status"] == "failed"}
    assert answer.status_code == 503
    assert failed.keys() == {"migrations", "queue"}
    assert all(failed.values())
    assert ask(world, "/health/live").status_code == 200


def test_metrics_count_answers_and_show_what_waits(world: World) -> None:
    world.site("alice", "a.test")
    text = ask(world, "/metrics").text
    assert 'hosthold_http_requests_total{operation="create_site",status="202"} 1.0' in text
    assert 'hosthold_sites{phase="pending"} 1.0' in text
    assert 'hosthold_drift{state="found"} 0.0' in text
    assert 'hosthold_due{kind="site"} 1.0' in text
    assert "hosthold_build_info" in text


@pytest.mark.parametrize(
    ("client", "headers"),
    [
        ("192.0.2.1", {}),
        ("127.0.0.1", {"x-forwarded-for": "192.0.2.1"}),
        ("127.0.0.1", {"forwarded": "for=192.0.2.1"}),
        ("192.0.2.1", {"x-forwarded-for": "127.0.0.1"}),
        ("192.0.2.1", {"x-real-ip": "127.0.0.1"}),
    ],
)
def test_s47_details_are_for_this_machine_and_a_header_makes_nobody_local(
    world: World, client: str, headers: dict[str, str]
) -> None:
    assert ask(world, "/metrics", client, **headers).status_code == 404
    ready = ask(world, "/health/ready", client, **headers)
    assert ready.json() == {"status": "ready"}
    for name, status in (("root", 200), ("alice", 404)):
        token = {"authorization": f"Bearer {world.tokens[name]}"}
        assert ask(world, "/metrics", client, **headers, **token).status_code == status


def test_s07_details_are_not_for_a_program_that_runs_as_a_site_or_is_gone(world: World) -> None:
    me = os.geteuid()
    settings = world.platform.settings
    world.platform.settings = settings.model_copy(
        update={"node": settings.node.model_copy(update={"uid_first": me, "uid_last": me})}
    )
    assert ask(world, "/metrics").status_code == 404
    assert ask(world, "/health/ready").json() == {"status": "ready"}
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as connection:
            ends = connection.getsockname(), server.getsockname()
            assert uid_at(*ends) == me
        assert uid_at(*ends) is None
    listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    with listening, socket.create_connection(listening.getsockname()[:2]) as connection:
        assert uid_at(connection.getsockname()[:2], listening.getsockname()[:2]) == me
