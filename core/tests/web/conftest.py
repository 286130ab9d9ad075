"""A platform with a provider, a reseller and three customers, and clients that speak to its real application."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from hosthold.accounts.models import AccountRow
from hosthold.accounts.service import AccountDraft, create, create_provider
from hosthold.app import build_app
from hosthold.auth.service import create_user, grant_role
from hosthold.auth.token import TokenDraft, create_token
from hosthold.db.unit_of_work import Database, UnitOfWork
from hosthold.nodes.service import register
from hosthold.packages.service import PackageDraft
from hosthold.packages.service import create as create_package
from hosthold.plugins.manager import PluginRegistry
from hosthold.types.account import AccountKind
from hosthold.types.actor import Actor
from hosthold.types.identifier import new_identifier
from hosthold.types.node import Isolation, Listen, Node, NodeLayout, Owner
from hosthold.types.text import AbsolutePath
from hosthold.web.application import Application
from hosthold.web.platform import Platform
from hosthold.work.keys import key_file, make_key
from hosthold.work.queue import WORKER

T = TypeVar("T")
ORIGIN = "http://127.0.0.1:8600"
PASSWORD = "correct horse battery staple"


@dataclass
class World:
    """Who is there: an actor and an API token by name, `root` being the provider and `reader` may only read."""

    platform: Platform
    app: Application
    package_id: str = ""
    actors: dict[str, Actor] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    user_id: str = ""

    def client(self, name: str | None = None, **headers: str) -> httpx.AsyncClient:
        """A client that sends the token of this name, or none."""
        if name is not None:
            headers["Authorization"] = f"Bearer {self.tokens[name]}"
        transport = httpx.ASGITransport(self.app, client=("127.0.0.1", 50000))
        return httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=headers)

    def call(self, name: str | None, method: str, path: str, **options: Any) -> httpx.Response:
        """One request, sent with the token of this name, or none."""

        async def send() -> httpx.Response:
            async with self.client(name) as client:
                return await client.request(method, path, **options)

        return run(send())

    def site(self, name: str, domain: str) -> dict[str, Any]:
        """A site declared by the token of this name."""
        answer = self.call(name, "POST", "/api/v1/sites", json={"domain": domain})
        assert answer.status_code == 202, answer.text
        return dict(answer.json())


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end."""
    return asyncio.run(work)


@pytest.fixture
def platform(database: Database, registry: PluginRegistry) -> Iterator[Platform]:
    """A platform on each kind of database."""
    make_key(key_file(database.settings, WORKER))
    made = Platform(database.settings, registry, database, database.bell)
    yield made
    made.execution.close()


@pytest.fixture
def world(platform: Platform, tmp_path: Path) -> World:
    """The small world of these tests."""
    return make_world(platform, tmp_path)


def make_world(platform: Platform, folder: Path) -> World:
    """Accounts: root > (alice, bob, reseller > carol); each with a token for everything, and a reader for alice."""
    made = World(platform, build_app(platform))
    layout = NodeLayout(state=AbsolutePath(f"{folder}/node"), run=AbsolutePath(f"{folder}/node/run"))
    owner = Owner(uid=1000, gid=1000)
    node = Node(name="local", layout=layout, listen=Listen(port=8680), isolation=Isolation.none, root=owner, web=owner,
                web_user="hosthold")  # fmt: skip
    with platform.database.write() as uow:
        root = create_provider(uow, "Provider")
        made.actors["root"] = _owner(root.id, root.path, "root")
        made.package_id = create_package(uow, made.actors["root"], PackageDraft(name="small", max_sites=50)).id
        register(uow, node, uid_first=200_000).facts = {"php": ["8.2"]}
        key = new_identifier()
        reseller = AccountRow(
            id=key,
            parent_id=root.id,
            kind=AccountKind.reseller,
            name="Reseller",
            path=f"{root.path}{key}/",
            package_id=made.package_id,
            created_at=uow.clock(),
        )
        uow.session.add(reseller)
        uow.session.flush()
        made.actors["reseller"] = _owner(reseller.id, reseller.path, "reseller")
        for name, above in (("alice", "root"), ("bob", "root"), ("carol", "reseller")):
            row = create(uow, made.actors[above], AccountDraft(name=name, package_id=made.package_id))
            made.actors[name] = _owner(row.id, row.path, name)
        for name, actor in made.actors.items():
            made.tokens[name] = token_for(uow, actor, ("*",))
        made.tokens["reader"] = token_for(uow, made.actors["alice"], ("site:read", "account:read"))
        user = create_user(uow, "alice@example.com", PASSWORD)
        grant_role(uow, user.id, made.actors["alice"].account_id, "owner")
        made.user_id = user.id
    return made


def token_for(uow: UnitOfWork, actor: Actor, permissions: tuple[str, ...]) -> str:
    """The secret of a new API token."""
    return create_token(uow, actor, TokenDraft(name="test", permissions=permissions))[1]


def _owner(account_id: str, path: str, label: str) -> Actor:
    return Actor(label=label, account_id=account_id, account_path=path, permissions=frozenset({"*"}))
