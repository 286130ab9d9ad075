"""How the server is set up: whose word counts about where a request comes from."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hosthold.settings import WebSettings
from hosthold.web.server import configuration


def client_seen(settings: WebSettings, peer: str, forwarded: str) -> str:
    """The client's address as the application sees it."""
    seen: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["client"][0])

    config = configuration(application, settings)
    config.load()
    scope = {"type": "http", "client": (peer, 1), "headers": [(b"x-forwarded-for", forwarded.encode())]}
    asyncio.run(config.loaded_app(scope, None, None))
    return seen[0]


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "seen"),
    [
        ([], "127.0.0.1", "203.0.113.7", "127.0.0.1"),
        (["127.0.0.1"], "127.0.0.1", "203.0.113.7", "203.0.113.7"),
        (["127.0.0.1"], "127.0.0.1", "127.0.0.1, 203.0.113.7", "203.0.113.7"),
        (["127.0.0.1"], "203.0.113.9", "198.51.100.1", "203.0.113.9"),
        (["10.0.0.0/8"], "10.1.2.3", "198.51.100.1, 10.9.9.9", "198.51.100.1"),
    ],
)
def test_s47_forwarded_addresses_count_only_from_trusted_proxies(
    trusted: list[str], peer: str, forwarded: str, seen: str
) -> None:
    assert client_seen(WebSettings.model_validate({"trusted_proxies": trusted}), peer, forwarded) == seen
