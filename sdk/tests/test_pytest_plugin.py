"""The fixtures that authors get: a whole platform, with which their plugins are tested."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from hosthold.accounts.models import AccountRow
from sqlalchemy import func, select


def test_a_site_comes_online_and_goes(customer: Any, worker: Any, node: Any) -> None:
    site = customer.post("/api/v1/sites", json={"domain": "shop.test"}).json()
    assert site["phase"] == "pending"
    worker.run()
    assert customer.get(f"/api/v1/sites/{site['id']}").json()["phase"] == "ready"
    answer = node.get("shop.test")
    assert answer.status == 200
    assert customer.delete(f"/api/v1/sites/{site['id']}").status_code == 202
    worker.run()
    assert customer.get(f"/api/v1/sites/{site['id']}").status_code == 404
    assert node.get("shop.test").status != 200


def test_the_provider_sees_the_installed_plugins(client: Any) -> None:
    names = {item["name"] for item in client.get("/api/v1/plugins").json()["items"]}
    assert {"hello_plugin", "fake", "php"} <= names


def test_a_hook_of_an_installed_plugin_is_asked(customer: Any) -> None:
    answer = customer.post("/api/v1/sites", json={"domain": "goodbye.test"})
    assert answer.status_code == 422
    assert "says goodbye" in answer.text


def test_time_passes_when_it_is_told_to(clock: Any, db: Any, worker: Any) -> None:
    before = clock()
    clock.advance(3_600_000)
    assert clock() == before + 3_600_000
    worker.run_jobs()
    with db.read() as uow:
        assert uow.clock() == clock()
        assert uow.session.scalar(select(func.count()).select_from(AccountRow)) == 2


@pytest.mark.usefixtures("no_network")
def test_other_machines_are_out_of_reach() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        for reach in (
            lambda: socket.getaddrinfo("example.com", 80),
            lambda: socket.gethostbyname("example.com"),
            lambda: one.connect(("192.0.2.1", 80)),
            lambda: one.sendto(b"", ("192.0.2.1", 80)),
        ):
            with pytest.raises(PermissionError, match="mark the test"):
                reach()


@pytest.mark.network
@pytest.mark.usefixtures("no_network")
def test_a_marked_test_may_reach_them() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(("127.0.0.2", 9))


@pytest.mark.usefixtures("no_network")
def test_this_machine_is_not_out_of_reach() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
        socket.getaddrinfo("localhost", 80)
