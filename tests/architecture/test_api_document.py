"""The examples of docs/api.md, sent one after the other to a real application."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from hosthold.accounts.service import create_provider
from hosthold.app import API, build_app, build_platform
from hosthold.auth.token import TokenDraft, create_token
from hosthold.nodes.service import register
from hosthold.settings import NameSettings, Settings
from hosthold.types.actor import Actor
from hosthold.types.node import Isolation, Listen, Node, NodeLayout, Owner
from hosthold.types.text import AbsolutePath
from hosthold.web.application import Application
from hosthold.web.operation import operations_of
from hosthold.work.keys import key_file, make_key
from hosthold.work.queue import WORKER

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text()
ADDRESS = "http://127.0.0.1:8600"


class Example(NamedTuple):
    """A request, and what its answer must have."""

    method: str
    path: str
    headers: dict[str, str]
    body: str
    status: int
    answer: dict[str, Any]


def examples() -> Iterator[Example]:
    for block in re.findall(r"^```http\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL):
        first, status, last = re.split(r"^(\d{3})\n", block, maxsplit=1, flags=re.MULTILINE)
        head, _, body = first.strip().partition("\n\n")
        method, path = head.splitlines()[0].split()
        headers = dict(line.split(": ", 1) for line in head.splitlines()[1:])
        yield Example(method, path, headers, body, int(status), json.loads(last) if last.strip() else {})


@pytest.fixture
def application(sqlite_settings: Settings) -> Iterator[Application]:
    """A platform with a provider, its token, and a node."""
    make_key(key_file(sqlite_settings, WORKER))
    names = NameSettings(local_suffixes=("example.org",))
    platform = build_platform(sqlite_settings.model_copy(update={"names": names}))
    yield build_app(platform)
    platform.close()


def provider_token(application: Application, folder: Path) -> str:
    layout = NodeLayout(state=AbsolutePath(f"{folder}/node"), run=AbsolutePath(f"{folder}/node/run"))
    owner = Owner(uid=1000, gid=1000)
    node = Node(
        name="local", layout=layout, listen=Listen(port=8680), isolation=Isolation.none, root=owner, web=owner,
        web_user="hosthold",
    )  # fmt: skip
    with application.platform.database.write() as uow:
        provider = create_provider(uow, "Provider")
        register(uow, node, uid_first=200_000).facts = {"php": ["8.2"]}
        actor = Actor(label="test", account_id=provider.id, account_path=provider.path, permissions=frozenset({"*"}))
        return create_token(uow, actor, TokenDraft(name="test", permissions=("*",)))[1]


def filled(text: str, known: Mapping[str, str]) -> str:
    return re.sub(r"\{([a-z]+)\}", lambda match: known.get(match[1], match[0]), text)


def test_examples_get_the_answers_that_are_shown(application: Application, tmp_path: Path) -> None:
    authorization = f"Bearer {provider_token(application, tmp_path)}"
    known: dict[str, str] = {}

    async def send_all() -> None:
        transport = httpx.ASGITransport(application, client=("127.0.0.1", 50000))
        async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as client:
            for example in examples():
                headers = {"Authorization": authorization, "Content-Type": "application/json"} | example.headers
                answer = await client.request(
                    example.method, filled(example.path, known), headers=headers, content=filled(example.body, known)
                )
                assert answer.status_code == example.status, (example, answer.text)
                given = answer.json()
                for name, value in example.answer.items():
                    shown = filled(value, known) if isinstance(value, str) else value
                    assert given[name] == shown, (example, given)
                if example.method == "POST" and "id" in given:
                    known.setdefault(example.path.rsplit("/", 1)[1].removesuffix("s"), given["id"])

    asyncio.run(send_all())
    assert {"package", "account", "site"} <= known.keys()


def test_addresses_in_the_text_are_operations() -> None:
    served = {(each.method, re.sub(r"\{[a-z_]+\}", "{}", each.path)) for each in operations_of(API)}
    named = re.findall(r"\b(GET|POST|PATCH|PUT|DELETE) (/api/v1/[^\s?`]+)", DOCUMENT)
    known = {(method, re.sub(r"\{[a-z]+\}|[0-9a-f]{32}", "{}", path)) for method, path in named}
    assert len(known) > 10
    assert known <= served
