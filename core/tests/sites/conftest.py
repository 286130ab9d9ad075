"""A small world for sites: a provider, two customers with a package, a node that is ready."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hosthold.accounts.service import AccountDraft, create, create_provider
from hosthold.db.unit_of_work import Database
from hosthold.nodes.service import register
from hosthold.packages.service import PackageDraft
from hosthold.packages.service import create as create_package
from hosthold.types.actor import Actor
from hosthold.types.node import Isolation, Listen, Node, NodeLayout, Owner
from hosthold.types.text import AbsolutePath


@dataclass
class World:
    """Who is there."""

    database: Database
    provider: Actor
    alice: Actor
    bob: Actor


def owner_of(account_id: str, path: str, label: str) -> Actor:
    """Somebody who may do everything in an account and below it."""
    return Actor(label=label, account_id=account_id, account_path=path, permissions=frozenset({"*"}))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node without isolation, with everything below the test's folder."""
    layout = NodeLayout(state=AbsolutePath(f"{tmp_path}/node"), run=AbsolutePath(f"{tmp_path}/node/run"))
    return Node(
        name="local",
        layout=layout,
        listen=Listen(port=8680),
        isolation=Isolation.none,
        root=Owner(uid=1000, gid=1000),
        web=Owner(uid=1000, gid=1000),
        web_user="hosthold",
    )


@pytest.fixture
def world(database: Database, node: Node) -> World:
    """The small world, in each kind of database."""
    with database.write() as uow:
        root = create_provider(uow, "Provider")
        provider = owner_of(root.id, root.path, "provider")
        package = create_package(uow, provider, PackageDraft(name="small", max_sites=3))
        customers = [create(uow, provider, AccountDraft(name=name, package_id=package.id)) for name in ("Alice", "Bob")]
        row = register(uow, node, uid_first=200_000)
        row.facts = {"php": ["8.2"]}
    alice, bob = (owner_of(row.id, row.path, row.name) for row in customers)
    return World(database, provider, alice, bob)
